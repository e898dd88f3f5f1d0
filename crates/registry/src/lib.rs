//! linkmesh registry.
