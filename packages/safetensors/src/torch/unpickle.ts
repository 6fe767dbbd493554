/**
 * @file A pickle that can say nothing but "these are tensors". Pickles are programs, which may call any function of Python by name; this machine has four
 * functions, all of them its own, and refuses a pickle that names any other, or that uses an opcode for which tensors have no need (Python's pickletools lists
 * them). What it builds are plain values; nothing is allocated by a number in the pickle.
 */

/** A tensor as a pickle describes it: a view of a storage. */
export interface PickledTensor {
  readonly kind: 'tensor';
  readonly storage: PickledStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export interface PickledStorage {
  readonly kind: 'storage';
  readonly dtype: StorageDtype;
  /** Its name in the archive. */
  readonly key: string;
  readonly elements: number;
}

export type StorageDtype = 'F32' | 'F16' | 'BF16' | 'F64';

/** `null` is None. A tuple or a list is an array. */
export type Pickled =
  | null
  | boolean
  | number
  | string
  | PickledTensor
  | PickledStorage
  | PickledName
  | Pickled[]
  | PickledDict;

/** Functions and classes that a pickle of tensors names. */
interface PickledName {
  readonly kind: 'name';
  readonly name: string;
}

export interface PickledDict {
  readonly kind: 'dict';
  readonly entries: Map<string | number, Pickled>;
}

/** Something that is no pickle of tensors; `message` says what. */
export class PickleError extends Error {
  override readonly name = 'PickleError';
}

const STORAGES: Readonly<Record<string, StorageDtype>> = {
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.DoubleStorage': 'F64',
};
const ORDERED_DICT = 'collections.OrderedDict';
const TENSOR = 'torch._utils._rebuild_tensor_v2';
const PARAMETER = 'torch._utils._rebuild_parameter';
const NAMES: ReadonlySet<string> = new Set([...Object.keys(STORAGES), ORDERED_DICT, TENSOR, PARAMETER]);

const MARK = Symbol('mark');

/**
 * The value of a pickle (protocols 2 to 5).
 * @throws PickleError when it would do anything but describe tensors, or is cut short.
 */
export function unpickle(bytes: Uint8Array): Pickled {
  return new Machine(bytes).run();
}

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #text = new TextDecoder('utf-8', { fatal: true });
  readonly #stack: (Pickled | typeof MARK)[] = [];
  readonly #memo = new Map<number, Pickled>();
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): Pickled {
    for (;;) {
      const begin = this.#at;
      const opcode = this.#byte();
      // STOP
      if (opcode === 0x2e) {
        const value = this.#pop();
        if (this.#stack.length > 0) throw new PickleError('it ends with more than one value');
        return value;
      }
      const value = this.#step(opcode, begin);
      if (value !== undefined) this.#stack.push(value);
    }
  }

  /** @returns what is to be put on the stack; undefined for nothing. */
  #step(opcode: number, begin: number): Pickled | undefined {
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#byte() > 5) throw new PickleError('its protocol is newer than 5');
        return undefined;
      case 0x95: // FRAME
        this.#take(8);
        return undefined;
      case 0x28: // MARK
        this.#stack.push(MARK);
        return undefined;
      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4b: // BININT1
        return this.#byte();
      case 0x4d: // BININT2
        return this.#number(2, (at) => this.#view.getUint16(at, true));
      case 0x4a: // BININT
        return this.#number(4, (at) => this.#view.getInt32(at, true));
      case 0x47: // BINFLOAT
        return this.#number(8, (at) => this.#view.getFloat64(at, false));
      case 0x8a: // LONG1
        return this.#long(this.#byte());
      case 0x58: // BINUNICODE
        return this.#string(this.#number(4, (at) => this.#view.getUint32(at, true)));
      case 0x8c: // SHORT_BINUNICODE
        return this.#string(this.#byte());
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        return [];
      case 0x7d: // EMPTY_DICT
        return { kind: 'dict', entries: new Map() };
      case 0x74: // TUPLE
        return this.#toMark();
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#popMany(opcode - 0x84);
      case 0x61: // APPEND
      case 0x65: {
        // APPENDS
        const items = opcode === 0x61 ? [this.#pop()] : this.#toMark();
        const list = this.#top();
        if (!Array.isArray(list)) throw new PickleError('it appends to what is no list');
        for (const item of items) list.push(item);
        return undefined;
      }
      case 0x73: // SETITEM
        this.#setItems(this.#popMany(2));
        return undefined;
      case 0x75: // SETITEMS
        this.#setItems(this.#toMark());
        return undefined;
      case 0x71: // BINPUT
        this.#memo.set(this.#byte(), this.#top());
        return undefined;
      case 0x72: // LONG_BINPUT
        this.#memo.set(
          this.#number(4, (at) => this.#view.getUint32(at, true)),
          this.#top(),
        );
        return undefined;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        return undefined;
      case 0x68: // BINGET
        return this.#remembered(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#remembered(this.#number(4, (at) => this.#view.getUint32(at, true)));
      case 0x63: // GLOBAL
        return named(this.#line(), this.#line());
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          throw new PickleError('it names something by what is no text');
        return named(module, name);
      }
      case 0x51: // BINPERSID
        return storageOf(this.#pop());
      case 0x52: {
        // REDUCE
        const [callable, args] = this.#popMany(2);
        return called(callable!, args!);
      }
      case 0x62: {
        // BUILD: what a state_dict carries beside its tensors, which says nothing of them.
        const state = this.#pop();
        const built = this.#top();
        const isMetadata = isDict(state) && [...state.entries.keys()].every((key) => key === '_metadata');
        if (!isDict(built) || !isMetadata)
          throw new PickleError('it sets attributes of what it builds, which tensors have no need of');
        return undefined;
      }
      default:
        throw new PickleError(
          `it has the opcode 0x${opcode.toString(16).padStart(2, '0')} at byte ${begin}, which tensors have no need of`,
        );
    }
  }

  #setItems(items: Pickled[]): void {
    const dict = this.#top();
    if (!isDict(dict) || items.length % 2 !== 0) throw new PickleError('it sets items of what is no dict');
    for (let n = 0; n < items.length; n += 2) {
      const key = items[n];
      if (typeof key !== 'string' && typeof key !== 'number')
        throw new PickleError('a key in it is neither text nor a number');
      dict.entries.set(key, items[n + 1]!);
    }
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new PickleError('it is cut short');
    this.#at += count;
    return at;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #number(width: number, read: (at: number) => number): number {
    return read(this.#take(width));
  }

  /** Two's complement, little-endian. */
  #long(width: number): number {
    if (width > 8) throw new PickleError('it has a whole number of more than 64 bits');
    const at = this.#take(width);
    let value = 0n;
    for (let n = width - 1; n >= 0; n--) value = (value << 8n) | BigInt(this.#bytes[at + n]!);
    const signed = Number(BigInt.asIntN(width * 8, value));
    if (!Number.isSafeInteger(signed)) throw new PickleError('it has a whole number of more than 53 bits');
    return signed;
  }

  #string(length: number): string {
    const at = this.#take(length);
    try {
      return this.#text.decode(this.#bytes.subarray(at, at + length));
    } catch {
      throw new PickleError('a text in it is no UTF-8');
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new PickleError('it is cut short');
    const text = this.#string(end - this.#at);
    this.#at++;
    return text;
  }

  #top(): Pickled {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw new PickleError('it takes a value where there is none');
    return value;
  }

  #pop(): Pickled {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): Pickled[] {
    const values: Pickled[] = [];
    for (let n = 0; n < count; n++) values.unshift(this.#pop());
    return values;
  }

  #toMark(): Pickled[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw new PickleError('it takes values up to a mark where there is none');
    const values = this.#stack.splice(mark + 1) as Pickled[];
    this.#stack.pop();
    return values;
  }

  #remembered(place: number): Pickled {
    const value = this.#memo.get(place);
    if (value === undefined) throw new PickleError('it takes from its memory what it has not put there');
    return value;
  }
}

function named(module: string, name: string): PickledName {
  const full = `${module}.${name}`;
  if (NAMES.has(full)) return { kind: 'name', name: full };
  throw new PickleError(
    `it names '${full.slice(0, 100)}', which is no tensor's; a pickle can call anything that it names`,
  );
}

/** ('storage', class, key, device, elements), as `torch.save` refers to a storage beside the pickle. */
function storageOf(id: Pickled): PickledStorage {
  if (Array.isArray(id) && id.length === 5 && id[0] === 'storage') {
    const [, type, key, , elements] = id;
    const dtype = isName(type!) ? STORAGES[type.name] : undefined;
    if (dtype && typeof key === 'string' && isCount(elements!)) return { kind: 'storage', dtype, key, elements };
  }
  throw new PickleError(
    'it refers to a storage in another way than torch.save does, or of another type than float, half, bfloat16 and double',
  );
}

function called(callable: Pickled, args: Pickled): Pickled {
  if (!isName(callable) || !Array.isArray(args)) throw new PickleError('it calls what is no function');
  switch (callable.name) {
    case ORDERED_DICT:
      if (args.length === 0) return { kind: 'dict', entries: new Map() };
      break;
    case TENSOR: {
      const [storage, offset, shape, strides] = args;
      const isTensor = isKind(storage!, 'storage') && isCount(offset!) && areCounts(shape!) && areCounts(strides!);
      if (isTensor && shape.length === strides.length) return { kind: 'tensor', storage, offset, shape, strides };
      break;
    }
    case PARAMETER:
      if (isKind(args[0]!, 'tensor')) return args[0];
      break;
  }
  throw new PickleError(`it calls '${callable.name}' with other arguments than torch.save does`);
}

const isCount = (value: Pickled): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

const areCounts = (value: Pickled): value is number[] => Array.isArray(value) && value.every(isCount);

type Kinds = { tensor: PickledTensor; storage: PickledStorage; dict: PickledDict; name: PickledName };

function isKind<K extends keyof Kinds>(value: Pickled, kind: K): value is Kinds[K] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && value.kind === kind;
}

const isName = (value: Pickled): value is PickledName => isKind(value, 'name');

/** Whether a value is a dict. */
export const isDict = (value: Pickled): value is PickledDict => isKind(value, 'dict');

/** Whether a value is a tensor. */
export const isTensor = (value: Pickled): value is PickledTensor => isKind(value, 'tensor');
