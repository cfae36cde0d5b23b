/**
 * FNV-1a of the eight bytes of a number, lowest first, taken as a signed number of 64 bits without its sign: the hash by which
 * YCSB scatters its hot records and names them all.
 */

const OFFSET_HIGH = 0xcbf29ce4;
const OFFSET_LOW = 0x84222325;
/** The prime is 2^40 + this. */
const PRIME_LOW = 0x1b3;
const TWO_32 = 2 ** 32;
const OCTETS = 8;

/** The hash as its upper and its lower 32 bits. */
interface Hash {
  readonly high: number;
  readonly low: number;
}

/**
 * The remainder of the hash of `value`.
 * @param value a whole number from 0 to 2^53 - 1
 * @param divisor from 1 to 2^37
 */
export function hashModulo(value: number, divisor: number): number {
  const { high, low } = hashOf(value);
  // Sixteen bits at a time: no step leaves what a double holds exactly.
  const upper = ((high % divisor) * 65_536 + (low >>> 16)) % divisor;
  return (upper * 65_536 + (low & 0xffff)) % divisor;
}

/** The hash of `value`, a whole number from 0 to 2^53 - 1, in decimal digits. */
export function hashText(value: number): string {
  const { high, low } = hashOf(value);
  return ((BigInt(high) << 32n) | BigInt(low)).toString();
}

function hashOf(value: number): Hash {
  let high = OFFSET_HIGH;
  let low = OFFSET_LOW;
  let rest = value;
  for (let octet = 0; octet < OCTETS; octet++) {
    low = (low ^ (rest % 256)) >>> 0;
    rest = Math.floor(rest / 256);
    const product = low * PRIME_LOW;
    high = (Math.imul(high, PRIME_LOW) + Math.floor(product / TWO_32) + (low << 8)) >>> 0;
    low = product % TWO_32;
  }
  return high < 0x8000_0000 ? { high, low } : negated(high, low);
}

function negated(high: number, low: number): Hash {
  return low === 0 ? { high: -high >>> 0, low } : { high: ~high >>> 0, low: -low >>> 0 };
}
