//! What clients may ask: HTTP, translated into flows. Never: logic; a handler parses, calls and formats.

pub mod http;
