//! Upload and download of one object, as machines: acknowledgements, replacement, hedging, order.
