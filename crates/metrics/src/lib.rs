//! linkmesh metrics.
