//! The form of a value inside another file: one line, `sealed:v1:` and base64 without padding.

use data_encoding::BASE64_NOPAD;

use super::sealed::{Content, MAX_SEALED_BYTES, OpenError, Sealed, VERSION};

/// What every version of this form begins with.
const MARK: &str = "sealed:v";

/// Writes it down, without a line end.
pub fn write(sealed: &Sealed) -> String {
    format!("{MARK}{VERSION}:{}", BASE64_NOPAD.encode(&sealed.to_bytes()))
}

/// Reads a sealed value; white space around it does not matter.
pub fn read(value: &str) -> Result<Sealed, OpenError> {
    let (version, base64) =
        value.trim().strip_prefix(MARK).and_then(|rest| rest.split_once(':')).ok_or(OpenError::NotSealed)?;
    if version != VERSION.to_string() {
        return Err(version.parse().map_or(OpenError::NotSealed, OpenError::Version));
    }
    if base64.len() > 2 * MAX_SEALED_BYTES {
        return Err(OpenError::TooLong);
    }
    let bytes = BASE64_NOPAD.decode(base64.as_bytes()).map_err(|_| OpenError::Damaged)?;
    Sealed::from_bytes(&bytes)?.expect(Content::Field)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::vault::cost::Cost;
    use crate::vault::passphrase::Passphrase;

    fn sealed(content: Content) -> Sealed {
        let passphrase = Passphrase::new("correct horse battery").unwrap();
        Sealed::seal(content, b"hush", &passphrase, Cost::TEST, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn a_value_is_one_line_and_reads_back() {
        let value = write(&sealed(Content::Field));
        assert!(value.starts_with("sealed:v1:") && !value.contains([' ', '\n', '"', '=']), "{value}");
        assert_eq!(read(&format!(" {value}\n")), Ok(sealed(Content::Field)));
    }

    #[test]
    fn what_is_no_sealed_value_is_named() {
        assert_eq!(read("a clear value"), Err(OpenError::NotSealed));
        assert_eq!(read("sealed:vx:AAAA"), Err(OpenError::NotSealed));
        assert_eq!(read("sealed:v2:AAAA"), Err(OpenError::Version(2)));
        assert_eq!(read("sealed:v1:AAA*"), Err(OpenError::Damaged));
        assert_eq!(read(&format!("sealed:v1:{}", "A".repeat(1_000_000))), Err(OpenError::TooLong));
        let (found, expected) = (Content::File, Content::Field);
        assert_eq!(read(&write(&sealed(found))), Err(OpenError::Content { found, expected }));
    }
}
