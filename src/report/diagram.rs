//! A network as a picture: columns of boxes joined by arrows, from plain data.

/// Networks side by side, as in the paper's figure 5.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diagram {
    /// Stands on top, and is the picture's name for a screen reader.
    pub title: String,
    /// A line or two below the title.
    pub subtitle: String,
    /// Small print below.
    pub notes: Vec<String>,
    /// The networks, left to right. Boxes of the same `row` stand at the same height.
    pub columns: Vec<Column>,
}

/// One network, input on top.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// Its name.
    pub title: String,
    /// From input to loss.
    pub boxes: Vec<Block>,
}

/// One layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// Rows are counted from the top; a column may leave some empty, and the arrow then passes through.
    pub row: usize,
    /// "conv 3×3, 64".
    pub label: String,
    /// What it gives: "32×32×64". May be empty.
    pub detail: String,
    /// Which look of [`super::STYLES`] its frame has; the same kind of layer, the same look.
    pub style: usize,
}
