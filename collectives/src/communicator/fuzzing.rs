//! The parser of this module for the fuzz targets; no part of the API.

use onepath_topology::Rank;

use super::join::parse;

/// Reads how a rank introduces itself; written and read again it is the same.
pub fn card(bytes: &[u8]) {
    if let Ok(card) = parse(Rank::new(0), bytes) {
        let written = serde_json::to_vec(&card).expect("a card is plain data");
        let again = parse(Rank::new(0), &written).expect("a written card is one");
        assert_eq!(serde_json::to_vec(&again).expect("a card is plain data"), written);
    }
}
