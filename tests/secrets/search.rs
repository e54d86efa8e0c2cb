//! Looking for secrets in anything, as they are and in the forms in which they get written down.

use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXUPPER};

/// A secret and how it would look.
pub struct Needle {
    name: &'static str,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Needle {
    pub fn new(name: &'static str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 16, "{name} is so short that it could be found by chance");
        let mut forms = vec![
            ("raw", secret.to_vec()),
            ("hex", HEXLOWER.encode(secret).into_bytes()),
            ("HEX", HEXUPPER.encode(secret).into_bytes()),
        ];
        for offset in 0..3 {
            forms.push(("base64", within(&BASE64_NOPAD, secret, offset)));
            forms.push(("base64url", within(&BASE64URL_NOPAD, secret, offset)));
        }
        // As `{:?}` of bytes shows them.
        let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
        forms.push(("a list of numbers", numbers.join(", ").into_bytes()));
        forms.push(("a compact list of numbers", numbers.join(",").into_bytes()));
        Self { name, forms }
    }

    /// All the forms, to be planted.
    pub fn forms(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.forms.iter().map(|(form, bytes)| (*form, bytes.as_slice()))
    }
}

/// The letters that stand for a secret, wherever it begins within something longer: those that depend on its neighbours
/// left out.
fn within(encoding: &Encoding, secret: &[u8], offset: usize) -> Vec<u8> {
    let text = encoding.encode(&[&vec![0; offset], secret].concat());
    let begin = (offset * 8).div_ceil(6);
    let end = (offset + secret.len()) * 8 / 6;
    text.as_bytes()[begin..end].to_vec()
}

/// Which secrets are in there, and in which form.
pub fn find(needles: &[Needle], hay: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for needle in needles {
        for (form, bytes) in needle.forms() {
            if contains(hay, bytes) {
                found.push(format!("{} ({form})", needle.name));
            }
        }
    }
    found
}

fn contains(hay: &[u8], bytes: &[u8]) -> bool {
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|byte| *byte == bytes[0]) {
        if rest[at..].starts_with(bytes) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Everything below a directory, links not followed: path and content. What cannot be read is an error where it is a file.
pub fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            files.extend(files_below(&path));
        } else if kind.is_file() {
            files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files
}

#[test]
fn every_form_is_found_at_every_offset_and_nothing_else() {
    let secret: Vec<u8> = (100..132).collect();
    let needles = [Needle::new("it", &secret)];
    for before in 0..7 {
        for after in 0..7 {
            let whole = [&vec![9; before], &secret[..], &vec![8; after]].concat();
            for text in [
                whole.clone(),
                HEXLOWER.encode(&whole).into_bytes(),
                HEXUPPER.encode(&whole).into_bytes(),
                BASE64_NOPAD.encode(&whole).into_bytes(),
                data_encoding::BASE64URL.encode(&whole).into_bytes(),
                format!("{whole:?}").into_bytes(),
                serde_json::to_vec(&whole).unwrap(),
            ] {
                assert!(!find(&needles, &text).is_empty(), "{before} {after}: {text:?}");
            }
        }
    }
    let other: Vec<u8> = (101..133).collect();
    for text in [other.clone(), BASE64_NOPAD.encode(&other).into_bytes(), format!("{other:?}").into_bytes()] {
        assert!(find(&needles, &text).is_empty());
    }
}
