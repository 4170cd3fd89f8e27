//! Plots and tables, from plain data that this room defines: it knows nothing of networks, runs or files.
//!
//! - `table.rs`: a table as aligned text, and numbers to a given number of significant digits;
//! - `plot.rs`: what a figure is: panels, axes, series, and `distribution.rs`: those of a ridge plot. Everything else here draws it;
//! - `scale.rs`: from values to places on an axis, and where its ticks stand;
//! - `trace.rs`: from a series to the pieces of line that are drawn: broken where a value is missing, thinned where
//!   there are more values than the page has places;
//! - `style.rs`: colours, dashes and markers, and the style sheet with its dark half;
//! - `font.rs`: the one font, and how wide a text is in it;
//! - `svg.rs`: the few SVG elements a figure needs, with escaping and fixed number formats;
//! - `frame.rs`: titles above a picture and notes below it;
//! - `layout.rs`: a figure as an SVG document: [`Figure::svg`];
//! - `axes.rs`: one panel of it;
//! - `ridge.rs`: distributions one behind another; `marks.rs`: lines and markers;
//! - `words.rs`: a figure in words;
//! - `boxes.rs`: a diagram as an SVG document: [`Diagram::svg`];
//! - `data.rs`: what a figure draws, as a CSV table and as NumPy arrays: [`Figure::csv`], [`Figure::arrays`];
//! - `files.rs`: picture and data side by side in a folder: [`Figure::write`];
//! - `raster.rs`: an SVG document as a PNG file;
//! - `small.rs`: one panel as a small figure: [`Panel::small_svg`];
//! - `page.rs`: what a report is;
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
