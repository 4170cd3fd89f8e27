//! Parameters and gradients: one flat vector each, with named slots.

use super::tensor::{Shape, View};
use crate::{Error, Result};

/// The order of a slot's elements in users' files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOrder {
    /// The same order as inside.
    Plain,
    /// A linear weight: `[I, O]` inside, `[O, I]` in files.
    Linear,
    /// A 3×3 convolution weight: `[3·3, C, K]` inside, `[K, C, 3, 3]` in files.
    Conv3x3,
    /// The gains of a weight that has this many axes in files: `[K]` inside, and in files `[K, 1]` or `[K, 1, 1, 1]`, as in PyTorch's `weight_norm`.
    Gain(usize),
}

impl FileOrder {
    /// The shape in files.
    pub fn shape(self, inside: Shape) -> Vec<usize> {
        let e = inside.extents();
        match self {
            FileOrder::Plain => e.to_vec(),
            FileOrder::Linear => vec![e[1], e[0]],
            FileOrder::Conv3x3 => vec![e[2], e[1], 3, 3],
            FileOrder::Gain(axes) => gain_shape(e[0], axes),
        }
    }

    /// The shapes that are accepted when reading a file: the shape that is written, and another with the same meaning (gains without PyTorch's axes
    /// of 1, as earlier versions wrote them). Where there is no other, the same shape twice.
    pub fn read_shapes(self, inside: Shape) -> [Vec<usize>; 2] {
        match self {
            FileOrder::Gain(_) => [self.shape(inside), inside.extents().to_vec()],
            _ => [self.shape(inside), self.shape(inside)],
        }
    }

    /// The position inside of the element at `index` in the file's order.
    pub fn inside(self, shape: Shape, index: usize) -> usize {
        let e = shape.extents();
        match self {
            FileOrder::Plain | FileOrder::Gain(_) => index,
            FileOrder::Linear => (index % e[0]) * e[1] + index / e[0],
            FileOrder::Conv3x3 => {
                let (tap, kc) = (index % 9, index / 9);
                (tap * e[1] + kc % e[1]) * e[2] + kc / e[1]
            }
        }
    }

    /// Reorders values from the inside order to the file's order.
    pub fn to_file<T: Copy>(self, shape: Shape, values: &[T]) -> Vec<T> {
        (0..values.len()).map(|i| values[self.inside(shape, i)]).collect()
    }

    /// Writes values that are in the file's order to their places inside.
    pub fn from_file<T: Copy>(self, shape: Shape, file: &[T], inside: &mut [T]) {
        for (i, &v) in file.iter().enumerate() {
            inside[self.inside(shape, i)] = v;
        }
    }
}

/// The shape that PyTorch gives the gains of `units` units, for a weight with this many axes.
pub fn gain_shape(units: usize, axes: usize) -> Vec<usize> {
    std::iter::once(units).chain(std::iter::repeat_n(1, axes.saturating_sub(1))).collect()
}

/// A named part of a flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// PyTorch's name for it, as in `conv3.weight`.
    pub name: String,
    /// Its first element in the flat vector.
    pub start: usize,
    /// Its shape inside.
    pub shape: Shape,
    /// Its order in files.
    pub order: FileOrder,
}

/// The slots of one flat vector, laid end to end in network order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    slots: Vec<Slot>,
    len: usize,
}

impl Slots {
    /// Appends a slot and gives its position.
    pub fn push(&mut self, name: String, shape: Shape, order: FileOrder) -> usize {
        self.slots.push(Slot { name, start: self.len, shape, order });
        self.len += shape.len();
        self.slots.len() - 1
    }

    /// The length of the flat vector, in elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The slots in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Slot> {
        self.slots.iter()
    }

    /// Slot `index` of the flat vector `whole`.
    pub fn view(&self, whole: View, index: usize) -> View {
        let slot = &self.slots[index];
        whole.slice(slot.start, slot.shape)
    }

    /// The slot called `name`.
    pub fn find(&self, name: &str) -> Result<&Slot> {
        self.slots.iter().find(|s| s.name == name).ok_or_else(|| {
            let known: Vec<_> = self.slots.iter().map(|s| s.name.as_str()).collect();
            Error::input(
                format!("parameter {name}"),
                "the network has none of that name",
                format!("it has {}", known.join(", ")),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_pytorchs_order() {
        // A weight whose value encodes its (k, c, tap) must come out in [K, C, 3, 3] order.
        let shape = Shape::new([9, 2, 4]);
        let mut inside = vec![0; shape.len()];
        for tap in 0..9 {
            for c in 0..2 {
                for k in 0..4 {
                    inside[(tap * 2 + c) * 4 + k] = k * 100 + c * 10 + tap;
                }
            }
        }
        let file = FileOrder::Conv3x3.to_file(shape, &inside);
        let expected: Vec<_> =
            (0..4).flat_map(|k| (0..2).flat_map(move |c| (0..9).map(move |t| k * 100 + c * 10 + t))).collect();
        assert_eq!(file, expected);
        let mut back = vec![0; inside.len()];
        FileOrder::Conv3x3.from_file(shape, &file, &mut back);
        assert_eq!(back, inside);
        assert_eq!(FileOrder::Linear.to_file(Shape::new([2, 3]), &[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
        for (axes, shape) in [(2, vec![3, 1]), (4, vec![3, 1, 1, 1])] {
            let (gain, inside) = (FileOrder::Gain(axes), Shape::new([3]));
            assert_eq!(gain.shape(inside), shape);
            assert_eq!(gain.read_shapes(inside), [shape, vec![3]]);
            assert_eq!(gain.to_file(inside, &[7, 8, 9]), [7, 8, 9]);
        }
    }
}
