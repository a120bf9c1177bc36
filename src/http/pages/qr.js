// Draws a text as a QR code (ISO/IEC 18004): bytes, error correction level M, versions 1 to 10, which is up
// to 213 bytes. Where nothing is drawn, the text is longer.

// All codewords, those for error correction in a block, blocks; by version.
const SIZES = [
  [26, 10, 1], [44, 16, 1], [70, 26, 1], [100, 18, 2], [134, 24, 2],
  [172, 16, 4], [196, 18, 4], [242, 22, 4], [292, 22, 5], [346, 26, 5],
];

// The field of 256 elements whose polynomial is x^8 + x^4 + x^3 + x^2 + 1: powers of x, and their exponents.
const power = [];
const exponent = [];
for (let i = 0, value = 1; i < 255; i += 1) {
  power[i] = value;
  exponent[value] = i;
  value = value < 128 ? value << 1 : (value << 1) ^ 0x11d;
}
const times = (a, b) => (a && b ? power[(exponent[a] + exponent[b]) % 255] : 0);

/** The codewords for error correction: what remains of a block divided by (x - 1)(x - 2)(x - 4)… */
function correction(block, count) {
  let divisor = [1];
  for (let i = 0; i < count; i += 1) {
    const next = [...divisor, 0];
    divisor.forEach((factor, at) => (next[at + 1] ^= times(factor, power[i])));
    divisor = next;
  }
  const rest = [...block, ...Array(count).fill(0)];
  block.forEach((_, i) => {
    const lead = rest[i];
    divisor.forEach((factor, at) => (rest[i + at] ^= times(factor, lead)));
  });
  return rest.slice(block.length);
}

/** The codewords of these bytes in the order in which they are drawn. */
function codewords(bytes, version) {
  const [all, count, blocks] = SIZES[version - 1];
  const room = all - count * blocks;
  const bits = [];
  const put = (value, length) => {
    for (let i = length - 1; i >= 0; i -= 1) bits.push((value >> i) & 1);
  };
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  bytes.forEach((byte) => put(byte, 8));
  put(0, Math.min(4, room * 8 - bits.length));
  put(0, -bits.length & 7);
  for (let i = 0; bits.length < room * 8; i += 1) put(i % 2 ? 0x11 : 0xec, 8);
  const data = Array.from({ length: room }, (_, i) => bits.slice(i * 8, i * 8 + 8).reduce((a, b) => a * 2 + b));

  // The last blocks are longer by one where the rest does not come out even.
  const short = Math.floor(all / blocks) - count;
  const longer = blocks - (all % blocks);
  const parts = [];
  for (let i = 0, at = 0; i < blocks; i += 1) {
    const length = short + (i >= longer ? 1 : 0);
    parts.push(data.slice(at, at + length));
    at += length;
  }
  const woven = (lists) => {
    const longest = Math.max(...lists.map((list) => list.length));
    return Array.from({ length: longest }, (_, i) => lists.filter((list) => i < list.length).map((list) => list[i])).flat();
  };
  return [...woven(parts), ...woven(parts.map((part) => correction(part, count)))];
}

/** A number with what remains of it divided by `divisor` behind it, `length` bits. */
function guarded(value, divisor, length) {
  let rest = value << length;
  for (let i = 31 - Math.clz32(rest); i >= length; i -= 1) {
    if ((rest >> i) & 1) rest ^= divisor << (i - length);
  }
  return (value << length) | rest;
}

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** What every code of a version has: `rows` of modules, undefined where data go. */
function frame(version) {
  const size = 17 + 4 * version;
  const rows = Array.from({ length: size }, () => Array(size).fill(undefined));
  const set = (x, y, dark) => {
    if (x >= 0 && y >= 0 && x < size && y < size) rows[y][x] = Boolean(dark);
  };
  const square = (x, y, radius, dark) => {
    for (let dy = -radius; dy <= radius; dy += 1) {
      for (let dx = -radius; dx <= radius; dx += 1) set(x + dx, y + dy, dark(Math.max(Math.abs(dx), Math.abs(dy))));
    }
  };
  for (let i = 0; i < size; i += 1) {
    set(i, 6, i % 2 === 0);
    set(6, i, i % 2 === 0);
  }
  const far = size - 7;
  const marks = version === 1 ? [] : version < 7 ? [6, far] : [6, (6 + far) / 2, far];
  const corner = (x, y) => (x === 6 && y === 6) || (x === 6 && y === far) || (x === far && y === 6);
  for (const x of marks) {
    for (const y of marks) if (!corner(x, y)) square(x, y, 2, (ring) => ring !== 1);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (ring) => ring < 2 || ring === 3);
  if (version >= 7) {
    const bits = guarded(version, 0x1f25, 12);
    for (let i = 0; i < 18; i += 1) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, (bits >> i) & 1);
      set(b, a, (bits >> i) & 1);
    }
  }
  format(rows, 0);
  return rows;
}

/** Writes down, twice, the level of error correction (M is 0) and the mask. */
function format(rows, mask) {
  const bits = guarded(mask, 0x537, 10) ^ 0x5412;
  const size = rows.length;
  for (let i = 0; i < 15; i += 1) {
    const dark = Boolean((bits >> i) & 1);
    const near = i < 6 ? i : i < 8 ? i + 1 : 14 - i + (i === 8 ? 1 : 0);
    // Down column 8 and along row 8, past the lines at 6.
    if (i < 8) rows[near][8] = dark;
    else rows[8][near] = dark;
    if (i < 8) rows[8][size - 1 - i] = dark;
    else rows[size - 15 + i][8] = dark;
  }
  rows[size - 8][8] = true;
}

/** Where data go, in their order: up and down in pairs of columns from the right, past column 6. */
function* path(rows) {
  const size = rows.length;
  let up = true;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    for (let i = 0; i < size; i += 1) {
      const y = up ? size - 1 - i : i;
      for (const x of [right, right - 1]) if (rows[y][x] === undefined) yield [x, y];
    }
    up = !up;
  }
}

/** How hard a code is to read: runs, blocks, what looks like a corner, and too much of one colour. */
function penalty(rows) {
  const size = rows.length;
  const columns = rows.map((_, x) => rows.map((row) => row[x]));
  let sum = 0;
  for (const line of [...rows, ...columns]) {
    const text = line.map(Number).join('');
    for (const [run] of text.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    sum += 40 * [...text.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) {
      const [a, b, c, d] = [rows[y][x], rows[y - 1][x], rows[y][x - 1], rows[y - 1][x - 1]];
      if (a === b && a === c && a === d) sum += 3;
    }
  }
  const dark = rows.flat().filter(Boolean).length / (size * size);
  return sum + 10 * Math.floor(Math.abs(dark * 100 - 50) / 5);
}

/** The rows of modules of the smallest code that holds `text`, true for dark; null where none does. */
export function modules(text) {
  const bytes = [...new TextEncoder().encode(text)];
  const fits = ([all, count, blocks], i) => bytes.length + (i < 9 ? 2 : 3) <= all - count * blocks;
  const version = SIZES.findIndex(fits) + 1;
  if (version === 0) return null;
  const empty = frame(version);
  const places = [...path(empty)];
  const words = codewords(bytes, version);
  const masked = MASKS.map((mask, number) => {
    const rows = empty.map((row) => [...row]);
    places.forEach(([x, y], i) => {
      const bit = (words[i >> 3] >> (7 - (i & 7))) & 1;
      rows[y][x] = Boolean(bit) !== (mask(x, y) === 0);
    });
    format(rows, number);
    return rows;
  });
  const penalties = masked.map(penalty);
  return masked[penalties.indexOf(Math.min(...penalties))];
}

/** The code as a picture, with the margin that readers want; null where the text is too long. */
export function picture(text, label) {
  const rows = modules(text);
  if (!rows) return null;
  const [margin, space] = [4, 'http://www.w3.org/2000/svg'];
  const element = (name, attributes) => {
    const made = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const size = rows.length + 2 * margin;
  const dark = rows.flatMap((row, y) => row.map((on, x) => (on ? `M${x + margin} ${y + margin}h1v1h-1z` : '')));
  const svg = element('svg', { viewBox: `0 0 ${size} ${size}`, role: 'img', 'aria-label': label, 'shape-rendering': 'crispEdges' });
  svg.append(element('path', { fill: '#fff', d: `M0 0h${size}v${size}H0z` }));
  svg.append(element('path', { fill: '#000', d: dark.join('') }));
  return svg;
}
