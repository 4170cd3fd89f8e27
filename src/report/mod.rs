//! Plots and tables, from plain data types that this room defines. It knows nothing about networks, runs or files.
//!
//! - `table.rs`: a table as aligned text, and numbers to a given number of significant digits;
//! - `plot.rs`: the data of a figure: panels, axes, series; `distribution.rs`: the data of a ridge plot. Everything else here draws them;
//! - `scale.rs`: maps values to places on an axis, and places its ticks;
//! - `trace.rs`: turns a series into the pieces of line to draw: broken where a value is missing, thinned where there are more values than
//!   places on the page;
//! - `style.rs`: colours, dashes and markers, and the style sheet with its dark half;
//! - `font.rs`: the font, and the width of texts in it;
//! - `svg.rs`: the few SVG elements that a figure needs, with escaping and fixed number formats;
//! - `frame.rs`: titles above a picture and notes below it;
//! - `layout.rs`: a figure as an SVG document: [`Figure::svg`];
//! - `axes.rs`: one panel of a figure;
//! - `ridge.rs`: distributions one behind another; `marks.rs`: lines and markers;
//! - `words.rs`: a figure in words;
//! - `boxes.rs`: a diagram as an SVG document: [`Diagram::svg`];
//! - `data.rs`: the data of a figure, as a CSV table and as NumPy arrays: [`Figure::csv`], [`Figure::arrays`];
//! - `files.rs`: writes a picture and its data into a folder: [`Figure::write`];
//! - `raster.rs`: an SVG document as a PNG file;
//! - `small.rs`: one panel as a small figure: [`Panel::small_svg`];
//! - `page.rs`: the data of a report;
//! - `html/`: a report as one HTML file: [`Page::html`].
//!
//! The same input gives the same bytes: no dates, no hash order, no fonts measured on the machine.

mod axes;
mod boxes;
mod data;
mod diagram;
mod distribution;
mod files;
mod font;
mod frame;
mod html;
mod layout;
mod marks;
mod page;
mod plot;
mod raster;
mod ridge;
#[cfg(test)]
mod samples;
mod scale;
mod small;
mod style;
mod svg;
mod table;
mod trace;
mod words;

pub use diagram::{Block, Column, Diagram};
pub use html::{COST_END, COST_START, without_cost};
pub use page::{
    Captioned, ClaimKind, ClaimRow, Explorer, Faceted, Finding, Headline, Line, Page, Picture, Section, Verdict,
};
pub use plot::{Axis, Figure, Kind, Panel, Ridge, Scale, Series};
pub use style::{STYLES, Style};
pub use table::{Cell, Table, rounded, significant};
