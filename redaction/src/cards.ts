/** Payment card numbers: form, issuer's prefix, length and check digit must fit (ISO/IEC 7812-1, annex B). */

/** The first card number at or after `from`. */
export function findCard(text: string, from: number): { readonly start: number; readonly end: number } | undefined {
  cardForm.lastIndex = from
  for (let match = cardForm.exec(text); match !== null; match = cardForm.exec(text)) {
    const digits = match[0].replace(/[ -]/g, '')
    if (isCardNumber(digits)) return { start: match.index, end: match.index + match[0].length }
  }
  return undefined
}

/** Not in the middle of an identifier or a number with a point; in groups of four, or Amex's 4-6-5, or in one piece. */
const cardForm =
  /(?:(?<![\w.-])|(?<=\\[bfnrt]))(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{5})(?![\w-]|\.\d)/g
/** Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay: with it, times and counters are hardly ever cards. */
const cardIssuer =
  /^(?:4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|(?:6011|64[4-9]\d|65\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|3(?:0[0-59]|[68]\d)\d{11,16}|62\d{14,17})$/

/** @param digits nothing else */
export function isCardNumber(digits: string): boolean {
  return cardIssuer.test(digits) && passesLuhn(digits)
}

function passesLuhn(digits: string): boolean {
  let total = 0
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 0x30
    const weighed = i % 2 === 0 ? digit : digit * 2
    total += weighed > 9 ? weighed - 9 : weighed
  }
  return total % 10 === 0
}
