//! Refuses images that occur in two batches: one batch was copied over another, or test images are trained on.

use std::path::Path;

use rayon::prelude::*;

use super::batch_file::{IMAGES, REMEDY, Source};
use crate::data::image_set::{IMAGE, Images};
use crate::{Error, Result};

/// Refuses a set in which two batches hold the same images, or in which more than half of the test images are also training images, in any
/// order: an accuracy would mean nothing. In CIFAR-10 itself no image is in both.
///
/// Black images are ignored: people who make a smaller set than CIFAR-10 fill up its batches with them. Labels are not compared. `sources`
/// are the files of the six batches, found in `at`.
pub(super) fn refuse(train: &Images, test: &Images, sources: &[Source], at: &Path) -> Result<()> {
    // What is compared are sums of 64 bits, in the order of the batches. By chance no two images have the same.
    let mut sums: Vec<u64> = train.pixels.par_chunks_exact(IMAGE).map(sum).collect();
    sums.par_extend(test.pixels.par_chunks_exact(IMAGE).map(sum));
    let black = sum(&[0; IMAGE]);
    let batches: Vec<&[u64]> = sums.chunks_exact(IMAGES).collect();
    let name = |batch: usize| sources.get(batch).map_or("a batch", |source| source.name.as_str());
    for (later, batch) in batches.iter().enumerate() {
        if batch.iter().all(|&image| image == black) {
            continue;
        }
        if let Some(first) = batches[..later].iter().position(|other| other == batch) {
            let problem = format!("{} holds the same images as {}", name(later), name(first));
            return Err(Error::file(at, problem, REMEDY));
        }
    }
    let Some((tested, trained)) = batches.split_last() else { return Ok(()) };
    let known: Vec<Vec<u64>> = trained
        .par_iter()
        .map(|batch| {
            let mut sorted = batch.to_vec();
            sorted.sort_unstable();
            sorted
        })
        .collect();
    let mut shared = vec![0; known.len()];
    let mut all = 0;
    for image in tested.iter().filter(|&&image| image != black) {
        let mut found = false;
        for (batch, count) in known.iter().zip(&mut shared) {
            if batch.binary_search(image).is_ok() {
                *count += 1;
                found = true;
            }
        }
        all += usize::from(found);
    }
    let most = shared.iter().zip(0..).max_by_key(|(count, _)| **count);
    match most {
        Some((count, batch)) if all > IMAGES / 2 => {
            let problem = format!(
                "of the {IMAGES} images of {}, {all} are training images too, {count} of them in {}",
                name(trained.len()),
                name(batch)
            );
            Err(Error::file(at, problem, REMEDY))
        }
        _ => Ok(()),
    }
}

/// A checksum of an image's bytes in order. It runs four chains, because each multiplication must wait for the one before it.
fn sum(image: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chains = [1u64, 2, 3, 4];
    let (blocks, _) = image.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (chain, word) in chains.iter_mut().zip(words) {
            // Both halves of the product: the lower one alone would not let a word's upper bits reach far.
            let product = u128::from(*chain ^ u64::from_le_bytes(*word)) * u128::from(ODD);
            *chain = product as u64 ^ (product >> 64) as u64;
        }
    }
    chains.into_iter().fold(0, |sum, chain| (sum ^ chain ^ (chain >> 32)).wrapping_mul(ODD).rotate_left(31))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six batches whose images all differ, by their first bytes.
    fn sets() -> (Images, Images) {
        let (mut train, mut test) = (Images::blank(5 * IMAGES), Images::blank(IMAGES));
        for (i, image) in train.pixels.chunks_exact_mut(IMAGE).chain(test.pixels.chunks_exact_mut(IMAGE)).enumerate() {
            image[..4].copy_from_slice(&(1 + i as u32).to_le_bytes());
        }
        (train, test)
    }

    fn refused(train: &Images, test: &Images) -> Option<String> {
        let source = |name: &&str| Source { name: (*name).to_string(), bytes: 0 };
        let sources: Vec<_> = super::super::batch_file::NAMES.iter().map(source).collect();
        refuse(train, test, &sources, Path::new("here")).err().map(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    fn copy(from: &[u8], to: &mut [u8], batch: usize) {
        to[batch * IMAGES * IMAGE..][..IMAGES * IMAGE].copy_from_slice(from);
    }

    #[test]
    fn a_batch_that_stands_twice_is_refused_by_both_names() {
        let (train, test) = sets();
        assert_eq!(refused(&train, &test), None);
        let batch = IMAGES * IMAGE;
        for (first, later) in [(0, 1), (1, 4), (0, 4)] {
            let mut twice = train.clone();
            copy(&train.pixels[first * batch..][..batch], &mut twice.pixels, later);
            let said = refused(&twice, &test).unwrap();
            let names = format!("here: data_batch_{} holds the same images as data_batch_{}", later + 1, first + 1);
            assert!(said.starts_with(&names), "{said}");
        }
        for first in [0, 4] {
            let mut twice = test.clone();
            copy(&train.pixels[first * batch..][..batch], &mut twice.pixels, 0);
            // Labels play no part.
            twice.labels.fill(7);
            let said = refused(&train, &twice).unwrap();
            assert!(said.contains(&format!("test_batch holds the same images as data_batch_{}", first + 1)), "{said}");
        }
    }

    #[test]
    fn test_images_that_are_trained_on_are_seen_in_any_order() {
        let (train, test) = sets();
        let batch = IMAGES * IMAGE;
        let mut mixed = test.clone();
        // The third batch, backwards.
        let images = train.pixels[2 * batch..3 * batch].chunks_exact(IMAGE);
        mixed.pixels.chunks_exact_mut(IMAGE).zip(images.rev()).for_each(|(to, from)| to.copy_from_slice(from));
        let said = refused(&train, &mixed).unwrap();
        assert!(
            said.contains("10000 images of test_batch, 10000 are") && said.contains("10000 of them in data_batch_3")
        );
        // Half of them is not yet more than half; some images repeated in training are nothing wrong.
        mixed.pixels[..batch / 2].copy_from_slice(&test.pixels[..batch / 2]);
        assert_eq!(refused(&train, &mixed), None);
        let mut repeated = train.clone();
        let some = train.pixels[..batch - IMAGE].to_vec();
        repeated.pixels[batch..2 * batch - IMAGE].copy_from_slice(&some);
        assert_eq!(refused(&repeated, &test), None);
    }

    #[test]
    fn batches_of_black_images_are_filling() {
        assert_eq!(refused(&Images::blank(5 * IMAGES), &Images::blank(IMAGES)), None);
        let (train, _) = sets();
        assert_eq!(refused(&train, &Images::blank(IMAGES)), None);
    }

    #[test]
    fn sums_differ_where_a_single_bit_does() {
        let image: Vec<u8> = (0..IMAGE).map(|i| (i * 7 % 251) as u8).collect();
        let mut seen = std::collections::BTreeSet::from([sum(&image)]);
        for bit in 0..8 * IMAGE {
            let mut other = image.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(sum(&other)), "bit {bit}");
        }
    }
}
