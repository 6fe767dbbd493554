/** @file Every kernel registers itself when imported. */
import './matmul.js';
import './unary.js';
import './binary.js';
