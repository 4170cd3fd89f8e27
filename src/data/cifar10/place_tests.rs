//! Which sets are found at a path, and which of several is taken.

use std::fs::{self, File};

use super::super::batch_file::{BINARY_BYTES, IMAGES};
use super::super::fixture::{gzip, put, tar};
use super::*;

fn layout(path: &Path) -> Layout {
    locate(path).unwrap().unwrap().layout
}

/// A batch file of the right length that takes next to no disk space.
fn batch(folder: &Path, name: &str) {
    fs::create_dir_all(folder).unwrap();
    File::create(folder.join(name)).unwrap().set_len(BINARY_BYTES).unwrap();
}

/// All six batch files.
fn whole(folder: &Path) {
    NAMES.iter().for_each(|name| batch(folder, &format!("{name}.bin")));
}

/// Bytes that begin like an archive.
fn archive_bytes() -> Vec<u8> {
    gzip(&tar([("cifar-10-batches-bin/data_batch_1.bin", &b"?"[..])]))
}

#[test]
fn a_folder_counts_by_one_batch_file_and_by_its_usual_children() {
    for (file, form, kind) in [
        ("data_batch_4.bin", Form::Binary, "folder of .bin files"),
        ("test_batch.bin.gz", Form::Binary, "folder of .bin files"),
        ("data_batch_1", Form::Python, "folder of Python pickles"),
        ("DATA_BATCH_4.BIN", Form::Binary, "folder of .bin files"),
        ("Test_Batch", Form::Python, "folder of Python pickles"),
    ] {
        for below in [
            "",
            "cifar-10-batches-bin",
            "cifar-10-batches-py",
            "CIFAR-10-BATCHES-BIN",
            "cifar-10-batches-py-target/cifar-10-batches-py",
            "cifar-10-binary/cifar-10-batches-bin",
            "cifar10/cifar-10-batches-py",
        ] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join(below);
            assert_eq!(locate(root.path()).unwrap(), None);
            put(&folder, file, b"");
            assert_eq!((layout(root.path()), layout(root.path()).kind()), (Layout::Folder(folder, form), kind));
        }
    }
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "cifar-100-python/data_batch_1", b"");
    assert_eq!(locate(root.path()).unwrap(), None);
}

#[test]
fn an_archive_counts_by_itself_and_in_its_folder() {
    for name in ARCHIVES {
        let root = tempfile::tempdir().unwrap();
        let archive = put(root.path(), name, b"");
        assert_eq!(layout(root.path()), Layout::Archive(archive.clone()));
        assert_eq!(layout(&archive), Layout::Archive(archive));
    }
}

#[test]
fn an_archive_under_another_name_counts_by_its_content() {
    let plain = tar([("cifar-10-batches-bin/data_batch_1.bin", &b"?"[..])]);
    for name in [
        "cifar-10-binary (1).tar.gz",
        "cifar-10-binary(2).tar.gz",
        "cifar-10-binary.tar (1).gz",
        "cifar-10-binary.tar.gz.1",
        "cifar-10-python.tgz",
        "cifar-10-binary.tar",
        "CIFAR-10-BINARY.TAR.GZ",
        "cifar10",
    ] {
        for bytes in [&archive_bytes(), &plain] {
            let root = tempfile::tempdir().unwrap();
            let archive = put(root.path(), name, bytes);
            assert_eq!(layout(root.path()), Layout::Archive(archive), "{name}");
        }
    }
    for (name, bytes) in [
        ("cifar-10-binary.tar.gz.part", archive_bytes()),
        ("cifar-10-binary.tar.gz.crdownload", archive_bytes()),
        ("cifar-100-binary (1).tar.gz", archive_bytes()),
        ("other.tar.gz", archive_bytes()),
        ("cifar-10-notes.txt", b"no archive at all".repeat(100)),
        ("cifar-10-notes.gz", gzip(&b"no archive at all".repeat(100))),
        ("cifar-10-empty.gz", vec![]),
        ("cifar-10-zeros", vec![0; 1024]),
    ] {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), name, &bytes);
        assert_eq!(locate(root.path()).unwrap(), None, "{name}");
    }
    // A download that was broken off and made again.
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "cifar-10-binary.tar.gz", &archive_bytes());
    let again = put(root.path(), "cifar-10-binary (1).tar.gz", &archive_bytes());
    File::options().write(true).open(&again).unwrap().set_len(PUBLISHED[0]).unwrap();
    assert_eq!(layout(root.path()), Layout::Archive(again));
}

#[test]
fn a_folder_that_is_not_whole_does_not_hide_what_is() {
    let root = tempfile::tempdir().unwrap();
    let half = root.path().join(FOLDERS[0]);
    batch(&half, "data_batch_1.bin");
    // Alone it counts, so that what it lacks is named.
    let found = locate(root.path()).unwrap().unwrap();
    assert_eq!(found, Found { layout: Layout::Folder(half.clone(), Form::Binary), passed_over: None, others: vec![] });

    let archive = put(root.path(), "cifar-10-binary.tar.gz", &archive_bytes());
    let why = |end: &str| {
        let found = locate(root.path()).unwrap().unwrap();
        assert_eq!(found.layout, Layout::Archive(archive.clone()));
        let said = found.passed_over.unwrap();
        assert!(said.starts_with(&*half.to_string_lossy()) && said.contains(end), "{said}");
    };
    why("has no data_batch_2.bin");
    whole(&half);
    let cut = File::options().write(true).open(half.join("data_batch_3.bin")).unwrap();
    for bytes in [0, 9_000_000, BINARY_BYTES - 1] {
        cut.set_len(bytes).unwrap();
        why(&format!("data_batch_3.bin: has {bytes} bytes"));
        // Given itself, what lies beside it is named.
        let itself = locate(&half).unwrap().unwrap();
        assert_eq!((itself.layout.path(), &itself.others[..]), (&*half, &[archive.clone()][..]));
    }
    cut.set_len(BINARY_BYTES).unwrap();
    let found = locate(root.path()).unwrap().unwrap();
    assert_eq!((found.layout.path(), found.passed_over), (&*half, None));
    assert_eq!(found.others, [archive]);
}

#[test]
fn so_it_is_with_the_other_form_and_with_pickles() {
    let root = tempfile::tempdir().unwrap();
    let (binary, python) = (root.path().join(FOLDERS[0]), root.path().join(FOLDERS[1]));
    batch(&binary, "data_batch_1.bin");
    let pickle = |name: &str, length: usize| {
        let mut bytes = vec![0; length];
        bytes[length - 1] = b'.';
        put(&python, name, &bytes)
    };
    NAMES.iter().for_each(|name| drop(pickle(name, 1 + IMAGES * 3072)));
    assert_eq!(layout(root.path()), Layout::Folder(python.clone(), Form::Python));
    whole(&binary);
    assert_eq!(layout(root.path()), Layout::Folder(binary.clone(), Form::Binary));
    // Both forms in one folder.
    whole(&python);
    fs::remove_dir_all(&binary).unwrap();
    assert_eq!(layout(root.path()), Layout::Folder(python.clone(), Form::Binary));
    fs::remove_file(python.join("test_batch.bin")).unwrap();
    assert_eq!(layout(root.path()), Layout::Folder(python.clone(), Form::Python));
    // A pickle that is cut short has no end mark, or no room for the images.
    let archive = put(root.path(), "cifar-10-python.tar.gz", &archive_bytes());
    let length = 1 + IMAGES * 3072;
    fs::remove_file(python.join("data_batch_1.bin")).unwrap();
    for cut in [&vec![0; length][..], &[b'.'; 100], b""] {
        fs::write(python.join("data_batch_2"), cut).unwrap();
        assert_eq!(layout(root.path()), Layout::Archive(archive.clone()), "{} bytes", cut.len());
    }
}

#[test]
fn the_first_place_that_is_whole_is_found() {
    let root = tempfile::tempdir().unwrap();
    let places = ["empty", "part", "whole", "other"].map(|name| root.path().join(name));
    fs::create_dir(&places[0]).unwrap();
    assert_eq!(first_whole(places.to_vec()), None);
    batch(&places[1], "data_batch_1.bin");
    assert_eq!(first_whole(places.to_vec()), Some(places[1].clone()));
    whole(&places[2]);
    whole(&places[3]);
    assert_eq!(first_whole(places.to_vec()), Some(places[2].clone()));
}

#[test]
fn a_path_that_holds_nothing_is_told_what_would_be_right() {
    let root = tempfile::tempdir().unwrap();
    let message = nothing_at(root.path()).to_string();
    assert!(message.contains("holds no CIFAR-10") && message.contains("normscape data fetch"), "{message}");
    let message = nothing_at(&root.path().join("no")).to_string();
    assert!(message.contains("no: does not exist") && !message.contains('\n'), "{message}");
    #[cfg(unix)]
    assert!(locate(Path::new("/dev/null")).is_err());
}

#[test]
fn what_the_user_says_is_taken_without_a_look() {
    assert_eq!(find(Some(Path::new("nowhere"))), Some("nowhere".into()));
}
