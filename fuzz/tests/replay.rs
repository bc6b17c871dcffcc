//! Every file of every corpus passes through its entry, on the stable toolchain.

use std::path::Path;

#[test]
fn corpora_pass() {
    for (name, entry) in fuzz::ENTRIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).expect("a corpus").map(|file| file.expect("a file").path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in &files {
            let octets = std::fs::read(file).expect("a file");
            println!("{}", file.display());
            entry(&octets);
            // A cut and a flipped octet are the hostile neighbours of every input.
            entry(&octets[..octets.len() / 2]);
            let mut flipped = octets.clone();
            if let Some(octet) = flipped.get_mut(octets.len() / 3) {
                *octet ^= 0x20;
            }
            entry(&flipped);
        }
        println!("{name}: {} inputs", files.len() * 3);
    }
}
