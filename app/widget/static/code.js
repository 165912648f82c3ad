// How a typed code is read and shown: docs/codes.md has the alphabet and the check.
"use strict";

const codes = (() => {
  const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const LONGEST_TYPED = 64;

  const capitals = (text) => text.replace(/[a-z]/g, (letter) => letter.toUpperCase());

  /** What was typed, without the spaces and dashes that do not count. */
  const bare = (typed) => typed.replace(/[ -]/g, "");

  /** The sixteen characters of a code, or null when there is a typing mistake. */
  function read(typed) {
    if (typed.length > LONGEST_TYPED) return null;
    const code = capitals(bare(typed)).replaceAll("O", "0").replace(/[IL]/g, "1");
    if (code.length !== 16) return null;
    let total = 0;
    for (const character of [...code].reverse()) {
      const value = ALPHABET.indexOf(character);
      if (value < 0) return null;
      total <<= 1;
      if (total & 32) total ^= 37;
      total ^= value;
    }
    return total === 0 ? code : null;
  }

  /** Groups of four. Nothing but spaces and dashes is dropped: a mistake stays to be seen. */
  const group = (typed) => (capitals(bare(typed)).match(/.{1,4}/gsu) || []).join("-");

  return { bare, group, read };
})();
