/** @file `datetime.strftime` in the C locale, which templates write today's date with. */
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** Unknown directives stay as they are, as in glibc. */
export function strftime(date: Date, format: string): string {
  const two = (n: number, fill = '0') => String(n).padStart(2, fill);
  const hour12 = date.getHours() % 12 || 12;
  const start = new Date(date.getFullYear(), 0, 1);
  const dayOfYear = Math.round(
    (new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime() - start.getTime()) / 86_400_000,
  );
  const values: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    C: () => two(Math.floor(date.getFullYear() / 100)),
    m: () => two(date.getMonth() + 1),
    B: () => MONTHS[date.getMonth()]!,
    b: () => MONTHS[date.getMonth()]!.slice(0, 3),
    h: () => MONTHS[date.getMonth()]!.slice(0, 3),
    d: () => two(date.getDate()),
    e: () => two(date.getDate(), ' '),
    j: () => String(dayOfYear + 1).padStart(3, '0'),
    A: () => DAYS[date.getDay()]!,
    a: () => DAYS[date.getDay()]!.slice(0, 3),
    w: () => String(date.getDay()),
    u: () => String(date.getDay() || 7),
    U: () => two(Math.floor((dayOfYear + 7 - date.getDay()) / 7)),
    W: () => two(Math.floor((dayOfYear + 7 - ((date.getDay() + 6) % 7)) / 7)),
    H: () => two(date.getHours()),
    I: () => two(hour12),
    k: () => two(date.getHours(), ' '),
    l: () => two(hour12, ' '),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    f: () => String(date.getMilliseconds() * 1000).padStart(6, '0'),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    z: () => '',
    Z: () => '',
    n: () => '\n',
    t: () => '\t',
    '%': () => '%',
    s: () => String(Math.floor(date.getTime() / 1000)),
    D: () => strftime(date, '%m/%d/%y'),
    F: () => strftime(date, '%Y-%m-%d'),
    T: () => strftime(date, '%H:%M:%S'),
    R: () => strftime(date, '%H:%M'),
    r: () => strftime(date, '%I:%M:%S %p'),
    c: () => strftime(date, '%a %b %e %H:%M:%S %Y'),
    x: () => strftime(date, '%m/%d/%y'),
    X: () => strftime(date, '%H:%M:%S'),
  };
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, minus: string, directive: string) => {
    const value = Object.hasOwn(values, directive) ? values[directive]!() : undefined;
    if (value === undefined) return whole;
    return minus ? value.replace(/^[0 ]+(?=\d)/, '') : value;
  });
}
