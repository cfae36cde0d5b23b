/** How much the specs do: `npm test` leaves out what `npm run test:long` does beside it. */

/** Set for the processes of a long run. */
export const LONG_VARIABLE = 'TROUPE_SPECS_LONG';
export const LONG = process.env[LONG_VARIABLE] === '1';

/** A number of seeds or runs, of which a short run does fewer. */
export function upTo(short: number, long: number): number {
  return LONG ? long : short;
}
