//! A network as a picture: columns of boxes joined by arrows, described by plain data.

/// Networks side by side, as in the paper's figure 5.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diagram {
    /// The text on top, and the picture's name for a screen reader.
    pub title: String,
    /// A line or two below the title.
    pub subtitle: String,
    /// Small print below.
    pub notes: Vec<String>,
    /// The networks, left to right. Boxes with the same `row` are at the same height.
    pub columns: Vec<Column>,
}

/// One network, input on top.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// The network's name.
    pub title: String,
    /// The boxes, from input to loss.
    pub boxes: Vec<Block>,
}

/// One layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// The row, counted from the top. A column may leave rows empty; the arrow then passes through.
    pub row: usize,
    /// The layer: "conv 3×3, 64".
    pub label: String,
    /// The layer's output: "32×32×64". May be empty.
    pub detail: String,
    /// The look of its frame, from [`super::STYLES`]; layers of the same kind have the same look.
    pub style: usize,
}
