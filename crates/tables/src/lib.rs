//! linkmesh tables.
