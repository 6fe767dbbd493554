/** @file Chat templates: jinja2's language with Python's values. */
export { render } from './interpreter.js';
export { TemplateSyntaxError } from './lexer.js';
export { parseTemplate } from './parser.js';
export { TemplateError } from './values.js';
