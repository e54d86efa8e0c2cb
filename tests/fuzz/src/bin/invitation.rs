//! Invitations as they come out of the seal, and tickets and join secrets as people copy them: only sound ones get in.
// max_len=1024
#![no_main]

use rustbalance::proto::join::invitation::Invitation;
use rustbalance::proto::join::secret::JoinSecret;
use rustbalance::proto::join::ticket::Ticket;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(invitation) = Invitation::from_bytes(data) {
        let again = invitation.to_bytes().unwrap_or_else(|error| panic!("{error}"));
        assert!(Invitation::from_bytes(&again).is_ok());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string(), text.trim());
    }
    if let Ok(secret) = JoinSecret::from_text(text) {
        assert_eq!(*secret.to_text(), text.trim());
    }
});
