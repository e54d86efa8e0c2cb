//! Unpacking a body piece by piece, and packing what became of it.
//!
//! What is packed small and is large does no harm: it is unpacked into pieces of one size, and the next one only when the
//! client has taken what came of the last.

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

/// The largest window that there is.
const WINDOW_BITS: u8 = 15;

/// A body that is being unpacked.
#[derive(Debug)]
pub struct Unpacking {
    /// `None`: it is not packed.
    gzip: Option<Decompress>,
    /// What has come and was not read.
    unread: Bytes,
    /// There may be more to come of what was read.
    more: bool,
    /// Nothing is missing where it stands now.
    whole: bool,
    ended: bool,
}

impl Unpacking {
    /// A body that begins.
    pub fn new(gzip: bool) -> Self {
        let gzip = gzip.then(|| Decompress::new_gzip(WINDOW_BITS));
        // An empty body is none that was cut.
        Self { gzip, unread: Bytes::new(), more: false, whole: true, ended: false }
    }

    /// Takes the next bytes, when all before are read.
    pub fn feed(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// No more bytes will come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Fills a piece: how much of it, and nothing at the end; `None` if more bytes have to come first.
    pub fn read(&mut self, piece: &mut [u8]) -> io::Result<Option<usize>> {
        while self.more || !self.unread.is_empty() {
            let written = if self.gzip.is_some() { self.unpack(piece)? } else { self.copy(piece) };
            if written > 0 {
                return Ok(Some(written));
            }
        }
        match (self.ended, self.whole) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(0)),
            (true, false) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn unpack(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let Some(gzip) = &mut self.gzip else { return Ok(0) };
        let (read, written, status) = unpack(gzip, &self.unread, piece)?;
        self.unread.advance(read);
        self.more = written == piece.len();
        self.whole = status == Status::StreamEnd;
        if self.whole {
            // Another one may follow, and belongs to it (RFC 1952 section 2.2).
            (*gzip, self.more) = (Decompress::new_gzip(WINDOW_BITS), false);
        }
        Ok(written)
    }

    fn copy(&mut self, piece: &mut [u8]) -> usize {
        let length = piece.len().min(self.unread.len());
        self.unread.copy_to_slice(&mut piece[..length]);
        length
    }
}

/// How much was read, and written.
fn unpack(gzip: &mut Decompress, from: &[u8], to: &mut [u8]) -> io::Result<(usize, usize, Status)> {
    let (read, written) = (gzip.total_in(), gzip.total_out());
    let status = gzip
        .decompress(from, to, FlushDecompress::None)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let moved = |before: u64, now: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    let (read, written) = (moved(read, gzip.total_in()), moved(written, gzip.total_out()));
    if read == 0 && written == 0 && !from.is_empty() && status != Status::StreamEnd {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not go on"));
    }
    Ok((read, written, status))
}

/// A body that is packed again.
#[derive(Debug)]
pub struct Packing {
    /// `None`: it is not.
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Holds something back, which would come out better packed together with what follows.
    holds: bool,
}

impl Packing {
    /// A body that begins.
    pub fn new(gzip: bool) -> Self {
        let gzip = gzip.then(|| GzEncoder::new(Vec::new(), Compression::default()));
        Self { gzip, holds: false }
    }

    /// Packs more, and gives what is ready of it.
    pub fn write(&mut self, bytes: Vec<u8>) -> io::Result<Bytes> {
        let Some(gzip) = &mut self.gzip else { return Ok(bytes.into()) };
        self.holds |= !bytes.is_empty();
        gzip.write_all(&bytes)?;
        Ok(std::mem::take(gzip.get_mut()).into())
    }

    /// Gives everything so far: nothing more is there for now, and a client may be waiting for it.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        let Some(gzip) = self.gzip.as_mut().filter(|_| self.holds) else { return Ok(Bytes::new()) };
        gzip.flush()?;
        self.holds = false;
        Ok(std::mem::take(gzip.get_mut()).into())
    }

    /// Gives what is left.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        let gzip = self.gzip.take();
        gzip.map_or(Ok(Bytes::new()), |gzip| gzip.finish().map(Bytes::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packing = Packing::new(true);
        [packing.write(text.to_vec()).unwrap(), packing.finish().unwrap()].concat()
    }

    fn unpacked(bytes: &[u8], cut: usize) -> io::Result<Vec<u8>> {
        let (mut unpacking, mut pieces, mut out) = (Unpacking::new(true), bytes.chunks(cut), Vec::new());
        let mut piece = [0; 100];
        loop {
            match unpacking.read(&mut piece)? {
                Some(0) => return Ok(out),
                Some(length) => out.extend_from_slice(&piece[..length]),
                None => match pieces.next() {
                    Some(bytes) => unpacking.feed(Bytes::copy_from_slice(bytes)),
                    None => unpacking.end(),
                },
            }
        }
    }

    #[test]
    fn what_was_packed_comes_out_however_it_is_cut() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|number| (number % 1000).to_le_bytes()).collect();
        let two = [packed(&text), packed(b"more")].concat();
        for cut in [1, 7, 1000, two.len()] {
            assert!(unpacked(&two, cut).unwrap() == [&text[..], b"more"].concat(), "{cut}");
        }
        assert_eq!(unpacked(b"", 1).unwrap(), b"");
    }

    #[test]
    fn what_is_broken_or_cut_off_is_no_whole_body() {
        let whole = packed(&b"text ".repeat(100));
        for end in 1..whole.len() {
            assert!(unpacked(&whole[..end], 5).is_err(), "{end}");
        }
        for at in [0, 1, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            let mut broken = whole.clone();
            broken[at] ^= 0x55;
            assert!(unpacked(&broken, 5).is_err(), "{at}");
        }
        assert!(unpacked(&[&whole[..], b"behind"].concat(), 5).is_err());
    }

    #[test]
    fn what_is_flushed_can_be_read_at_once() {
        let (mut packing, mut unpacking) = (Packing::new(true), Unpacking::new(true));
        for _ in 0..3 {
            let begin = packing.write(b"piece".to_vec()).unwrap();
            unpacking.feed([begin, packing.flush().unwrap()].concat().into());
            let mut piece = [0; 100];
            assert_eq!(unpacking.read(&mut piece).unwrap(), Some(5));
            assert_eq!(unpacking.read(&mut piece).unwrap(), None);
            assert!(packing.flush().unwrap().is_empty(), "nothing came since");
        }
    }
}
