/** @file Every kernel registers itself when imported. */
import './matmul.js';
