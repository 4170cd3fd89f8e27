// Part 2: from values to places on an axis, ticks, and numbers as text.

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A value in full, as it was recorded. */
function exact(value) {
  if (value === null || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "−infinite";
  return String(value).replace(/-/g, "−");
}

/** Ten to this power, as it is written at an axis. */
function powerOfTen(power) {
  const digits = [...String(Math.abs(power))].map((digit) => RAISED[digit]).join("");
  return `10${power < 0 ? "⁻" : ""}${digits}`;
}

/** A tick's value, which is a round number: `digits` after the point where it is written out. */
function tickLabel(value, digits) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) {
    const [mantissa, power] = value.toExponential(12).split("e");
    const factor = Number(Number(mantissa).toFixed(6));
    const minus = factor < 0 ? "−" : "";
    return Math.abs(factor) === 1 ? minus + powerOfTen(+power) : `${minus}${Math.abs(factor)}×${powerOfTen(+power)}`;
  }
  return value.toFixed(Math.min(digits, 12)).replace("-", "−");
}

/** An axis over `low`…`high`, `length` pixels long; `upwards` counts them from the far end. */
class Axis {
  constructor({ log, low, high, length, upwards = false }) {
    this.log = log;
    this.length = length;
    this.upwards = upwards;
    this.low = log ? Math.log10(low) : low;
    this.high = log ? Math.log10(high) : high;
    if (!(this.high > this.low)) {
      const half = log ? 0.5 : 0.1 * Math.abs(this.low) || 0.5;
      this.low -= half;
      this.high += half;
    }
  }

  /** The axis that holds these values, with the share `pad` of it free at both ends. */
  static over(values, { log, range, pad, length, upwards }) {
    const has = (value) => Number.isFinite(value) && (!log || value > 0);
    if (range && range.every(has) && range[0] !== range[1]) {
      return new Axis({ log, low: Math.min(...range), high: Math.max(...range), length, upwards });
    }
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (!has(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) [low, high] = log ? [1, 10] : [0, 1];
    const axis = new Axis({ log, low, high, length, upwards });
    if (low < high) {
      const free = pad * (axis.high - axis.low);
      axis.low -= free;
      axis.high += free;
    }
    return axis;
  }

  /** Where a value lies, in pixels; NaN where it has no place. */
  at(value) {
    if (value === null || !Number.isFinite(value) || (this.log && value <= 0)) return NaN;
    const share = ((this.log ? Math.log10(value) : value) - this.low) / (this.high - this.low);
    const held = Math.min(Math.max(share, -10), 11);
    return (this.upwards ? 1 - held : held) * this.length;
  }

  /** The same for an end of a band: what has no place but lies beyond an end is put there. */
  edge(value) {
    if (value === null || Number.isNaN(value)) return NaN;
    const at = this.at(value);
    if (!Number.isNaN(at)) return at;
    return value > 0 === this.upwards ? 0 : this.length;
  }

  /** Ticks, about `count` of them with a label. */
  ticks(count) {
    return this.log ? this.logTicks(count) : this.linearTicks(this.low, this.high, count);
  }

  linearTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = Math.floor(Math.log10(rough));
    const factor = [1, 2, 5, 10].find((digit) => digit * 10 ** power >= 0.75 * rough) ?? 10;
    const step = factor * 10 ** power;
    const digits = Math.max(0, factor === 10 ? -power - 1 : -power);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-6); i <= high / step + 1e-6 && ticks.length < 50; i += 1) {
      // Through text: 3 × 0.1 reads 0.3.
      const value = Number((i * step).toPrecision(12));
      ticks.push({ at: this.at(value), label: tickLabel(value, digits) });
    }
    return ticks;
  }

  logTicks(count) {
    const [first, last] = [Math.ceil(this.low - 1e-9), Math.floor(this.high + 1e-9)];
    const powers = last - first + 1;
    const mantissas = powers >= 3 ? [1] : [1, 2, 5];
    const stride = powers >= 3 ? Math.ceil(powers / count) : 1;
    const ticks = [];
    for (let power = first - 1; power <= last; power += 1) {
      for (let mantissa = 1; mantissa < 10; mantissa += 1) {
        const place = power + Math.log10(mantissa);
        const labelled = mantissas.includes(mantissa) && (power - first) % stride === 0;
        if (!(labelled || mantissa === 1 || (stride === 1 && powers <= 8))) continue;
        if (place < this.low - 1e-9 || place > this.high + 1e-9) continue;
        const value = Number(`${mantissa}e${power}`);
        const plain = power >= -3 && power <= 4 ? String(value) : null;
        const label = plain ?? (mantissa === 1 ? powerOfTen(power) : `${mantissa}×${powerOfTen(power)}`);
        ticks.push({ at: this.at(value), label: labelled ? label : null });
      }
    }
    // Within a factor of a few the powers are too far apart.
    const enough = ticks.filter((tick) => tick.label !== null).length >= 2;
    return enough ? ticks : this.linearTicks(10 ** this.low, 10 ** this.high, count);
  }
}

