//! The form of a whole file: text that can be mailed, quoted and copied.
//!
//! ```text
//! -----BEGIN RUSTBALANCE SEALED FILE-----
//! AQEAAQAAAAAAAwGTXnWZ…
//! -----END RUSTBALANCE SEALED FILE-----
//! ```
//!
//! Between the two lines stands base64 without padding (`=` does not survive every mail program). White space and the
//! `>` of a quoted mail do not matter, nor does what stands before and after.

use data_encoding::BASE64_NOPAD;

use super::sealed::{Content, MAX_SEALED_BYTES, OpenError, Sealed};

/// Characters of base64 in a line: as in PEM.
const LINE: usize = 64;
/// Longest text that is looked at: everything sealed four times over, so that a letter may stand around it.
pub const MAX_TEXT_BYTES: usize = 4 * MAX_SEALED_BYTES;

const BEGIN: &str = "-----BEGIN RUSTBALANCE ";
const END: &str = "-----END RUSTBALANCE ";
const DASHES: &str = "-----";

/// The word in the lines around it; a value inside a file has another form.
fn label(content: Content) -> &'static str {
    match content {
        Content::File => "SEALED FILE",
        Content::Field => "SEALED VALUE",
        Content::Invitation => "INVITATION",
    }
}

/// Writes it down, with a line end at the end.
pub fn write(sealed: &Sealed) -> String {
    let label = label(sealed.content());
    let base64 = BASE64_NOPAD.encode(&sealed.to_bytes());
    let (opening, closing) = (format!("{BEGIN}{label}{DASHES}"), format!("{END}{label}{DASHES}"));
    let mut lines = vec![opening.as_str()];
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        lines.push(line);
        rest = after;
    }
    lines.extend([closing.as_str(), ""]);
    lines.join("\n")
}

/// Reads the first sealed secret in a text. Two in one text are read as one: the first.
pub fn read(text: &str) -> Result<Sealed, OpenError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(OpenError::TooLong);
    }
    let (_, rest) = text.split_once(BEGIN).ok_or(OpenError::NotSealed)?;
    let (opening, rest) = rest.split_once(DASHES).ok_or(OpenError::Damaged)?;
    let (body, rest) = rest.split_once(END).ok_or(OpenError::Damaged)?;
    let (closing, _) = rest.split_once(DASHES).ok_or(OpenError::Damaged)?;
    let base64: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'>').collect();
    let bytes = BASE64_NOPAD.decode(&base64).map_err(|_| OpenError::Damaged)?;
    let sealed = Sealed::from_bytes(&bytes)?;
    // The word is for people; what counts is inside the header, but both must agree.
    if opening == label(sealed.content()) && opening == closing {
        Ok(sealed)
    } else {
        Err(OpenError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::vault::cost::Cost;
    use crate::vault::passphrase::Passphrase;

    fn sealed(content: Content) -> (Sealed, Passphrase) {
        let passphrase = Passphrase::new("correct horse battery").unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        (Sealed::seal(content, &[7; 96], &passphrase, Cost::TEST, &mut rng).unwrap(), passphrase)
    }

    #[test]
    fn a_letter_a_quotation_and_other_line_ends_do_not_matter() {
        for content in [Content::File, Content::Field, Content::Invitation] {
            let (sealed, _) = sealed(content);
            let text = write(&sealed);
            assert!(text.lines().all(|line| line.len() <= LINE) && text.ends_with("-----\n"), "{text}");
            let letter = format!("Dear colleague,\n\n{text}\n-- \nyours\n");
            let quoted: String = letter.lines().flat_map(|line| ["> > ", line, "\r\n"]).collect();
            let rewrapped = text.replace('\n', "\n    ");
            for form in [text.clone(), letter, quoted, rewrapped, text.trim_end().to_owned()] {
                assert_eq!(read(&form).as_ref(), Ok(&sealed), "{form}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_is_something_else_is_named() {
        let (file, passphrase) = sealed(Content::File);
        let text = write(&file);
        assert_eq!(read(""), Err(OpenError::NotSealed));
        assert_eq!(
            read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            Err(OpenError::NotSealed)
        );
        let lines: Vec<&str> = text.lines().collect();
        for missing in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(missing);
            let opened = read(&fewer.join("\n")).and_then(|sealed| sealed.open(&passphrase));
            assert!(opened.is_err(), "without line {missing}");
        }
        assert_eq!(read(&lines[..lines.len() - 1].join("\n")), Err(OpenError::Damaged));
        assert_eq!(read(&text.replace("SEALED FILE", "INVITATION")), Err(OpenError::Damaged));
        assert_eq!(read(&text.replacen("SEALED FILE", "INVITATION", 1)), Err(OpenError::Damaged));
        assert_eq!(read(&" ".repeat(MAX_TEXT_BYTES + 1)), Err(OpenError::TooLong));
    }

    /// One change of a kind that happens: in the bytes, or in the text that carries them.
    fn mutate(text: &str, sealed: &Sealed, rng: &mut StdRng) -> String {
        let mut bytes = if rng.random() { sealed.to_bytes() } else { text.as_bytes().to_vec() };
        let is_text = bytes == text.as_bytes();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..5) {
                0 => bytes[at] ^= 1 << rng.random_range(0..if is_text { 7 } else { 8 }),
                1 => bytes[at] = rng.random_range(0..if is_text { 128 } else { 255 }),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, rng.random_range(0..128)),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b'A');
            }
        }
        if is_text {
            return String::from_utf8(bytes).unwrap();
        }
        format!("{BEGIN}SEALED FILE{DASHES}\n{}\n{END}SEALED FILE{DASHES}\n", BASE64_NOPAD.encode(&bytes))
    }

    #[test]
    fn a_hundred_thousand_altered_files_are_all_refused() {
        let (sealed, passphrase) = sealed(Content::File);
        let text = write(&sealed);
        let mut rng = StdRng::seed_from_u64(2);
        let (mut altered, mut tried) = (0, 0);
        while altered < 100_000 {
            let mutant = mutate(&text, &sealed, &mut rng);
            let opened = match read(&mutant) {
                // Only what carries the bytes was changed: a space, or nothing in the end.
                Ok(same) if same == sealed => continue,
                Ok(other) => {
                    tried += 1;
                    other.open(&passphrase)
                }
                Err(error) => Err(error),
            };
            altered += 1;
            assert!(opened.is_err(), "accepted: {mutant}");
        }
        println!("{altered} altered files, {tried} of them cost a derivation");
        assert!(tried > 10_000, "the mutations hardly ever reach the cipher: {tried}");
    }
}
