/** @file All forms by name. The next is a file and a line here. */
import type { FormDefinition } from './form.js';
import { fourBitForm } from './four-bit-form.js';
import { fp8Form } from './fp8-form.js';

export const FORMS = {
  fp8: fp8Form,
  nf4: fourBitForm('nf4'),
  fp4: fourBitForm('fp4'),
} satisfies Readonly<Record<string, FormDefinition>>;

export type StoredFormName = keyof typeof FORMS;

export const STORED_FORMS = Object.keys(FORMS) as readonly StoredFormName[];
