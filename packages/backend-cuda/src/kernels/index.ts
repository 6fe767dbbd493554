/** @file Every kernel registers itself when imported. */
import './gated-mlp.js';
import './matmul.js';
import './project-columns.js';
import './project-rows.js';
import './stored-tensor.js';
