//! linkmesh routing.
