/** Names of XML 1.0 (production 5) without a colon, and qualified names (Namespaces in XML 1.0, production 7). */

const START =
  'A-Z_a-z\\u00C0-\\u00D6\\u00D8-\\u00F6\\u00F8-\\u02FF\\u0370-\\u037D\\u037F-\\u1FFF\\u200C\\u200D\\u2070-\\u218F' +
  '\\u2C00-\\u2FEF\\u3001-\\uD7FF\\uF900-\\uFDCF\\uFDF0-\\uFFFD\\u{10000}-\\u{EFFFF}';
const PLAIN = `[${START}][${START}.0-9\\u00B7\\u0300-\\u036F\\u203F\\u2040-]*`;
const QUALIFIED = new RegExp(`^(?:(${PLAIN}):)?(${PLAIN})$`, 'u');

export interface Name {
  /** '' where there is none. */
  readonly prefix: string;
  readonly local: string;
}

/** Null where it is no name. */
export function parseName(name: string): Name | null {
  const parts = QUALIFIED.exec(name);
  return parts === null ? null : { prefix: parts[1] ?? '', local: parts[2] as string };
}

/** What XML 1.0 (production 2) does not allow, lone surrogates included. */
const FORBIDDEN = /[^\t\n\r -\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

export function hasForbiddenCharacter(text: string): boolean {
  return FORBIDDEN.test(text);
}

/** Declared everywhere, and not to be declared again. */
export const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace';
export const XMLNS_NAMESPACE = 'http://www.w3.org/2000/xmlns/';

/** Namespaces are URI references (RFC 3986), and libxml2 refuses a document in which one is not. */
const CHARACTER = "(?:[\\w.~!$&'()*+,;=:@-]|%[0-9a-f]{2})";
const AUTHORITY = '//[a-z0-9._~-]*(?::[0-9]{1,5})?(?![^/?#])';
const URI = new RegExp(
  `^(?:[a-z][a-z0-9+.-]*:|(?![^/?#]*:))(?:${AUTHORITY}|(?!//))(?:${CHARACTER}|/)*` +
    `(?:\\?(?:${CHARACTER}|[/?])*)?(?:#(?:${CHARACTER}|[/?])*)?$`,
  'i',
);

export function isUri(text: string): boolean {
  return URI.test(text);
}
