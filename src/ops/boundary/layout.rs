//! The order of a tensor's elements outside, in files (NCHW, OIHW, row-major), and inside, in memory (HWNC, taps × C × K).

use crate::runtime::slots::FileOrder;
use crate::runtime::tensor::Shape;

/// The order of a tensor's elements, outside and inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The same order inside; a tensor of more than two axes becomes a matrix `[first, product of the rest]`.
    Plain,
    /// Activations of any shape, in the same order inside.
    Elements,
    /// Activations of two or more axes: `[N, C, …]` outside, `[…, N, C]` inside.
    Activations,
    /// A parameter, in the order of the network's parameter slots.
    Parameter(FileOrder),
}

/// The extents `[N, C, …]` of activations, with the remaining axes joined into one: for each of `pixels` places, an N × C matrix.
struct Pixels {
    n: usize,
    c: usize,
    pixels: usize,
}

impl Pixels {
    fn of(outside: &[usize]) -> Self {
        let (n, c) = (outside[0], outside[1]);
        Pixels { n, c, pixels: outside[2..].iter().product() }
    }

    /// Calls `pair(index outside, index inside)` for every element.
    fn each(&self, mut pair: impl FnMut(usize, usize)) {
        for n in 0..self.n {
            for c in 0..self.c {
                for p in 0..self.pixels {
                    pair((n * self.c + c) * self.pixels + p, (p * self.n + n) * self.c + c);
                }
            }
        }
    }
}

impl Layout {
    /// The shape inside of a tensor whose extents outside are `outside`; their product must not overflow. Activations must have at least two axes,
    /// parameters as many as their slot.
    pub fn shape(self, outside: &[usize]) -> Shape {
        match (self, outside) {
            (Layout::Activations, &[n, c]) => Shape::new([n, c]),
            (Layout::Activations, &[n, c, h, w]) => Shape::new([h, w, n, c]),
            (Layout::Activations, &[n, c, ref rest @ ..]) => Shape::new([rest.iter().product(), n, c]),
            // More axes than two are one: of a weight of any kind, units outermost.
            (Layout::Parameter(FileOrder::Linear), &[o, ref rest @ ..]) => Shape::new([rest.iter().product(), o]),
            (Layout::Parameter(FileOrder::Conv3x3), &[k, c, ..]) => Shape::new([9, c, k]),
            (_, []) => Shape::new([]),
            (_, &[only]) => Shape::new([only]),
            (_, &[first, ref rest @ ..]) => Shape::new([first, rest.iter().product()]),
        }
    }

    /// Reorders values from the outside order to the inside order.
    pub fn enter<T: Copy>(self, outside: &[usize], values: &[T]) -> Vec<T> {
        let mut inside = values.to_vec();
        match self {
            Layout::Plain | Layout::Elements => {}
            Layout::Activations => Pixels::of(outside).each(|out, into| inside[into] = values[out]),
            Layout::Parameter(order) => order.from_file(self.shape(outside), values, &mut inside),
        }
        inside
    }

    /// Reorders values from the inside order to the outside order.
    pub fn leave<T: Copy>(self, outside: &[usize], values: Vec<T>) -> Vec<T> {
        match self {
            Layout::Plain | Layout::Elements => values,
            Layout::Activations => {
                let mut out = values.clone();
                Pixels::of(outside).each(|to, from| out[to] = values[from]);
                out
            }
            Layout::Parameter(order) => order.to_file(self.shape(outside), &values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_of_any_rank_become_pixels_of_samples_times_channels() {
        for outside in [vec![3, 2], vec![3, 2, 4], vec![3, 2, 4, 5], vec![3, 2, 4, 5, 2], vec![1, 1, 1, 1]] {
            let layout = Layout::Activations;
            let pixels: usize = outside[2..].iter().product();
            // The value says where the element stands: n, c, pixel.
            let values: Vec<(usize, usize, usize)> = (0..outside[0] * outside[1] * pixels)
                .map(|i| (i / pixels / outside[1], i / pixels % outside[1], i % pixels))
                .collect();
            let inside = layout.enter(&outside, &values);
            let [n, c] = [outside[0], outside[1]];
            for (i, &v) in inside.iter().enumerate() {
                assert_eq!(v, (i / c % n, i % c, i / c / n), "{outside:?}");
            }
            assert_eq!(layout.shape(&outside).matrix(), (pixels * n, c));
            assert_eq!(layout.shape(&outside).hwnc()[2], n);
            assert_eq!(layout.leave(&outside, inside), values);
        }
    }

    #[test]
    fn parameters_are_ordered_as_the_networks_slots_are() {
        let weight = Layout::Parameter(FileOrder::Linear);
        assert_eq!(weight.shape(&[2, 3]), Shape::new([3, 2]));
        assert_eq!(weight.enter(&[2, 3], &[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
        let taps = Layout::Parameter(FileOrder::Conv3x3);
        let values: Vec<usize> = (0..5 * 4 * 9).collect();
        assert_eq!(taps.shape(&[5, 4, 3, 3]), Shape::new([9, 4, 5]));
        assert_eq!(taps.leave(&[5, 4, 3, 3], taps.enter(&[5, 4, 3, 3], &values)), values);
        // [k, c, tap] = [3, 2, 7] stands at [tap, c, k].
        assert_eq!(taps.enter(&[5, 4, 3, 3], &values)[(7 * 4 + 2) * 5 + 3], (3 * 4 + 2) * 9 + 7);
    }
}
