/** `reason` of the error that tells a store that it was taken offline, and is gone for good. */
export const STORE_GONE = 'store-gone';
