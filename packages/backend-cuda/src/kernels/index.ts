/** @file Every kernel registers itself when imported. */
import './matmul.js';
import './unary.js';
import './binary.js';
import './constant.js';
import './select.js';
import './movement.js';
import './joining.js';
