export { didYouMean } from '../../actors/index.js';
