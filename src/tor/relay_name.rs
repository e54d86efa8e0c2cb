//! How the control protocol names a relay (control-spec, section 2.4): `$FINGERPRINT~nickname`.

use data_encoding::{HEXUPPER, HEXUPPER_PERMISSIVE};

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 40;

/// The RSA identity in a relay's name: `$FP`, `$FP~nickname`, `$FP=nickname` or the bare fingerprint.
/// `None` for a nickname alone and for `UNKNOWN`.
pub fn parse(name: &str) -> Option<[u8; 20]> {
    let name = name.strip_prefix('$').unwrap_or(name);
    let (digits, rest) = name.split_at_checked(FINGERPRINT_DIGITS)?;
    if !(rest.is_empty() || rest.starts_with(['~', '='])) {
        return None;
    }
    HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok()
}

/// The fingerprint as commands take it.
pub fn format(rsa_id: &[u8; 20]) -> String {
    HEXUPPER.encode(rsa_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_names_the_same_relay() {
        let id = [0xab; 20];
        let digits = format(&id);
        assert_eq!(digits, "AB".repeat(20));
        for name in [
            digits.clone(),
            format!("${digits}"),
            format!("${digits}~nick"),
            format!("${}=n", "aB".repeat(20)),
        ] {
            assert_eq!(parse(&name), Some(id), "{name}");
        }
        for name in ["", "UNKNOWN", "nick", "$AB~nick", &format!("${digits}AB"), &"é".repeat(20)] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
