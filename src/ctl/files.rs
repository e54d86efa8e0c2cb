//! Files that appear whole or not at all, readable by their owner only, and never in the place of others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rand::RngExt;
use zeroize::Zeroizing;

use crate::sys::exit::Exit;

/// Owner only: all these files hold secrets, or say where secrets are.
const FILE_MODE: u32 = 0o600;
/// Owner only; whoever packages the daemons opens it to their group.
const DIRECTORY_MODE: u32 = 0o700;

/// Files to be made together in one directory.
#[derive(Debug)]
pub struct NewFiles {
    directory: PathBuf,
    files: Vec<(&'static str, Zeroizing<Vec<u8>>)>,
}

/// Why files were not made or replaced. All is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Something of that name is there already.
    #[error("{} exists already and is left alone; remove it, or take another name or directory", path.display())]
    Exists {
        /// The first of them.
        path: PathBuf,
    },
    /// A file or the directory cannot be made.
    #[error("{} cannot be made: {source}; nothing was left behind", path.display())]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file cannot be replaced.
    #[error("{} cannot be replaced: {source}; it is as it was", path.display())]
    Replace {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl FilesError {
    /// The exit code: 77 where permission is missing, 73 for everything else.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Make { source, .. } | Self::Replace { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            _ => Exit::CannotCreate,
        }
    }
}

impl NewFiles {
    /// No file yet, in a directory that is made if it is not there.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), files: Vec::new() }
    }

    /// One more. The order is that in which they appear: what names the others comes last.
    pub fn add(&mut self, name: &'static str, content: &[u8]) {
        self.files.push((name, Zeroizing::new(content.to_vec())));
    }

    /// Makes sure that none of these names is taken, before anything costly is done.
    pub fn check(directory: &Path, names: &[impl AsRef<Path>]) -> Result<(), FilesError> {
        match names.iter().map(|name| directory.join(name)).find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(FilesError::Exists { path }),
            None => Ok(()),
        }
    }

    /// Makes all of them. After an error none of them is there, nor the directory if it was not there before.
    pub fn make(self) -> Result<(), FilesError> {
        let mut undo = Undo::default();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FilesError::Make { path, source }
        };
        if make_directory(&self.directory).map_err(failed(&self.directory))? {
            undo.directory = Some(self.directory.clone());
        }
        let mut written = Vec::new();
        for (name, content) in &self.files {
            let path = self.directory.join(name);
            let draft = draft_of(&path);
            write_draft(&draft, content, &mut undo).map_err(failed(&path))?;
            written.push((draft, path));
        }
        for (draft, path) in &written {
            // A link, because unlike a rename it never replaces what somebody else has made meanwhile.
            fs::hard_link(draft, path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => FilesError::Exists { path: path.clone() },
                _ => FilesError::Make { path: path.clone(), source },
            })?;
            undo.files.push(path.clone());
        }
        sync(&self.directory).map_err(failed(&self.directory))?;
        undo.keep(&written);
        Ok(())
    }
}

/// Makes one file, in a directory that is there.
pub fn make_file(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    let failed = |source| FilesError::Make { path: path.to_owned(), source };
    let mut undo = Undo::default();
    let draft = draft_of(path);
    write_draft(&draft, content, &mut undo).map_err(failed)?;
    fs::hard_link(&draft, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FilesError::Exists { path: path.to_owned() },
        _ => failed(source),
    })?;
    sync(parent(path)).map_err(failed)
}

/// Gives a file another content; its owner and mode stay. Whoever opens it meets the old or the new content, also after
/// a power failure.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    let failed = |source| FilesError::Replace { path: path.to_owned(), source };
    // The file itself, not a link to it.
    let path = fs::canonicalize(path).map_err(failed)?;
    let before = fs::metadata(&path).map_err(failed)?;
    let mut undo = Undo::default();
    let draft = draft_of(&path);
    let file = write_draft(&draft, content, &mut undo).map_err(failed)?;
    if (before.uid(), before.gid()) != (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) {
        fchown(&file, Some(before.uid()), Some(before.gid())).map_err(failed)?;
    }
    file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777)).map_err(failed)?;
    fs::rename(&draft, &path).and_then(|()| sync(parent(&path))).map_err(failed)
}

/// What has to go again if the rest does not come about.
#[derive(Default)]
struct Undo {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
}

impl Undo {
    /// All has come about: only the drafts go.
    fn keep(&mut self, written: &[(PathBuf, PathBuf)]) {
        self.directory = None;
        self.files = written.iter().map(|(draft, _)| draft.clone()).collect();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The name under which a file is written until it is whole.
fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mark = HEXLOWER.encode(&rand::rng().random::<[u8; 8]>());
    path.with_file_name(format!(".{name}.{mark}"))
}

/// Writes a whole file to the disk; it goes again with `undo`.
fn write_draft(draft: &Path, content: &[u8], undo: &mut Undo) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    undo.files.push(draft.to_owned());
    file.write_all(content)?;
    file.sync_all()?;
    Ok(file)
}

/// Makes a directory, and says whether it was not there.
fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => Ok(true),
        Err(_) if path.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the names in a directory reach the disk.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_appear_private_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("new");
        let mut files = NewFiles::new(&directory);
        files.add("a", b"one");
        files.add("b", b"two");
        files.make().unwrap();
        assert_eq!(names(&directory), ["a", "b"]);
        assert_eq!(fs::read(directory.join("b")).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&directory), mode(&directory.join("a"))), (DIRECTORY_MODE, FILE_MODE));
    }

    #[test]
    fn one_that_is_there_stays_and_the_others_do_not_come() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("b"), "mine").unwrap();
        let mut files = NewFiles::new(place.path());
        files.add("a", b"one");
        files.add("b", b"two");
        assert!(matches!(NewFiles::check(place.path(), &["a", "b"]), Err(FilesError::Exists { .. })));
        assert!(NewFiles::check(place.path(), &["a"]).is_ok());
        // Also when it has appeared since the check.
        assert!(matches!(files.make(), Err(FilesError::Exists { .. })));
        assert_eq!(names(place.path()), ["b"]);
        assert_eq!(fs::read(place.path().join("b")).unwrap(), b"mine");
        assert!(matches!(make_file(&place.path().join("b"), b"x"), Err(FilesError::Exists { .. })));
        assert_eq!(names(place.path()), ["b"]);
    }

    #[test]
    fn a_directory_made_in_vain_goes_again() {
        let place = tempfile::tempdir().unwrap();
        let mut files = NewFiles::new(&place.path().join("new"));
        files.add("a", b"one");
        files.add("not/possible", b"two");
        assert!(matches!(files.make(), Err(FilesError::Make { .. })));
        assert!(names(place.path()).is_empty());
        let files = NewFiles::new(&place.path().join("no/such/parent"));
        assert!(matches!(files.make(), Err(FilesError::Make { .. })));
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_links_to_it_hold() {
        let place = tempfile::tempdir().unwrap();
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(names(place.path()), ["file", "link"]);
        assert!(matches!(replace(&place.path().join("no"), b"x"), Err(FilesError::Replace { .. })));
    }
}
