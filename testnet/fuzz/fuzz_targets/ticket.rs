//! `invite::Ticket::from_text`: what is accepted survives being written and read again.
#![no_main]

use protocol::invite::Ticket;

libfuzzer_sys::fuzz_target!(|input: &str| {
    if let Ok(ticket) = Ticket::from_text(input) {
        assert_eq!(Ticket::from_text(&ticket.to_text()), Ok(ticket));
    }
});
