//! What the wheel holds.

use super::{Any, Environment, info};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// The most bytes of a wheel to publish, and of one around a development build, which checks its own arithmetic and knows mistakes to make.
const MOST: [(&str, u64); 2] = [("release", 12_000_000), ("development", 14_000_000)];
const PROGRAM: &str = "normscape-0.1.0.data/scripts/normscape";
const ABOUT: &str = "normscape-0.1.0.dist-info";

/// The wheel holds the program, the module and the licences, and nothing else; the program has no symbols.
pub fn check(env: &Environment) -> Any<()> {
    let wheel = &env.wheel;
    let (bytes, build) = (wheel.metadata()?.len(), info(&mut env.command("normscape"))?["build"].clone());
    let (_, most) = MOST.into_iter().find(|(name, _)| build == *name).ok_or("neither build")?;
    assert!(bytes <= most, "{bytes} bytes, more than {most}");
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    let found: BTreeSet<String> = archive.file_names().map(|name| Ok(name?.into_owned())).collect::<Any<_>>()?;
    let licences =
        ["LICENSE-APACHE", "LICENSE-MIT", "assets/fonts/LICENSE", "src/report/html/assets/vendor/uPlot-LICENSE"];
    // A list of the crates that the program is made of, with their licences.
    let sbom = format!("{ABOUT}/sboms/normscape.cyclonedx.json");
    let mut expected: BTreeSet<String> = ["METADATA", "WHEEL", "RECORD"].map(|name| format!("{ABOUT}/{name}")).into();
    expected.extend(licences.map(|name| format!("{ABOUT}/licenses/{name}")));
    expected.extend([sbom.clone(), PROGRAM.into()]);
    let modules = ["__init__", "_checkpoint", "_errors", "_probe", "_program", "_pytorch"];
    expected.extend(modules.map(|name| format!("normscape/{name}.py")));
    let licences_of_crates = "normscape/LICENSES-OF-CRATES.txt";
    expected.extend([licences_of_crates, "normscape/py.typed"].map(str::to_owned));
    assert_eq!(found, expected);

    let mut read = |name: &str| -> Any<Vec<u8>> {
        let mut bytes = Vec::new();
        archive.by_name(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    for licence in licences {
        let own = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(licence))?;
        assert!(own == read(&format!("{ABOUT}/licenses/{licence}"))?, "{licence} differs");
    }
    let metadata = String::from_utf8(read(&format!("{ABOUT}/METADATA"))?)?;
    for line in [
        "Name: normscape",
        "Version: 0.1.0",
        "License-Expression: MIT OR Apache-2.0",
        "Requires-Dist: numpy>=1.23",
        "Requires-Dist: nvidia-cuda-nvrtc==13.0.* ; extra == 'cuda'",
        "Provides-Extra: cuda",
    ] {
        assert!(metadata.lines().any(|of| of == line), "no `{line}` in\n{metadata}");
    }
    let program = read(PROGRAM)?;
    assert!(program.starts_with(b"\x7fELF"));
    // Names of sections stand in the program as they are.
    let names = |name: &str| program.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(names("\0.rodata\0") && !names("\0.symtab\0") && !names("\0.debug_line\0"), "symbols are in it");
    let sbom: serde_json::Value = serde_json::from_slice(&read(&sbom)?)?;
    let crates = sbom["components"].as_array().ok_or("no crates are listed")?;
    assert!(crates.len() > 50, "{} crates are listed", crates.len());
    // Of these only the last is none of the program's, but of a macro's.
    let told = String::from_utf8(read(licences_of_crates)?)?;
    let linked = told.lines().skip(2).take_while(|line| !line.is_empty());
    let linked: BTreeSet<&str> = linked.filter_map(|line| line.split(' ').next()).collect();
    for name in ["clap", "cudarc", "rayon", "ring", "safetensors", "unicode-ident"] {
        assert_eq!(linked.contains(name), name != "unicode-ident", "{name}");
    }
    let listed: BTreeSet<&str> = crates.iter().filter_map(|component| component["name"].as_str()).collect();
    assert!(linked.len() > 50 && linked.is_subset(&listed), "{:?}", linked.difference(&listed));
    assert!(told.contains("Permission is hereby granted, free of charge") && told.contains("Apache License"));
    Ok(())
}

/// The wheel's name has the oldest glibc that it runs with, which maturin reads from the program's symbols.
pub fn glibc(wheel: &Path) -> Any<()> {
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let minor = name.split("manylinux_2_").nth(1).and_then(|rest| rest.split('_').next()).ok_or(name.clone())?;
    let minor: u32 = minor.parse().map_err(|e| format!("{name}: {e}"))?;
    let mut program = Vec::new();
    ZipArchive::new(File::open(wheel)?)?.by_name(PROGRAM)?.read_to_end(&mut program)?;
    let program = String::from_utf8_lossy(&program);
    let asked = program.split("GLIBC_2.").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    let newest = asked.max().ok_or("it asks for no glibc")?;
    assert!(newest <= minor && minor <= 36, "{name}: the program asks for glibc 2.{newest}");
    Ok(())
}
