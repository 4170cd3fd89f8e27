//! Writes a picture and its data into a folder: NAME.svg, NAME.png, NAME.csv, NAME.npz.

use std::path::{Path, PathBuf};

use super::diagram::Diagram;
use super::plot::Figure;
use super::raster::png;
use crate::files::{Arrays, atomic, disk, npz};
use crate::{Error, Result};

/// Pixels of a PNG file per pixel of the SVG, enough for print. A picture that would be too large gets fewer.
const SCALE: f32 = 2.0;

impl Figure {
    /// Writes NAME.svg, NAME.png (on a white page, at twice the resolution or as much as fits into 100 million pixels), NAME.csv and
    /// NAME.npz into the folder, and returns their paths in this order. Each file is written whole. A missing folder is created. The same
    /// figure gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that is no file name, [`Error::Io`] where the file system refuses.
    pub fn write(&self, folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
        write(folder, name, &self.svg(), &self.csv(), &self.arrays())
    }
}

impl Diagram {
    /// The same as [`Figure::write`].
    ///
    /// # Errors
    /// The errors of [`Figure::write`].
    pub fn write(&self, folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
        write(folder, name, &self.svg(), &self.csv(), &self.arrays())
    }
}

fn write(folder: &Path, name: &str, svg: &str, csv: &str, arrays: &Arrays) -> Result<Vec<PathBuf>> {
    if name.is_empty() || name.starts_with('.') || name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        let problem = "is no name for a figure's files";
        return Err(Error::input(format!("{name:?}"), problem, "use letters, digits and dashes"));
    }
    // What can fail without the disk comes first: then there is no file, or all that the disk takes.
    let picture = png(svg, SCALE)?;
    disk::create_dir_all(folder)?;
    let paths: Vec<PathBuf> = ["svg", "png", "csv", "npz"].map(|end| folder.join(format!("{name}.{end}"))).into();
    for (path, bytes) in paths.iter().zip([svg.as_bytes(), &picture, csv.as_bytes()]) {
        atomic::write_bytes(path, bytes)?;
    }
    npz::write(&folder.join(format!("{name}.npz")), arrays)?;
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn picture_and_data_stand_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("figures");
        let paths = samples::lines().write(&inside, "fig4").unwrap();
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["fig4.svg", "fig4.png", "fig4.csv", "fig4.npz"]);
        let first: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(npz::read(&paths[3]).unwrap(), samples::lines().arrays());
        samples::lines().write(&inside, "fig4").unwrap();
        let second: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(first == second, "the same figure gives the same bytes");
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 4);
        samples::networks().write(&inside, "fig5").unwrap();
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 8);
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "../a", "a/b", ".hidden", "a\nb"] {
            assert!(matches!(Figure::default().write(folder.path(), name), Err(Error::Input { .. })), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
