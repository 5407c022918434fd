// Text as key presses of a US keyboard, which is the one that a machine without settings has.
const SHIFTED = new Set('ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:"<>?');
const SHIFT = 0xffe1;
const NAMED = { "\n": 0xff0d, "\t": 0xff09 };

// The X11 keysym of a character: Latin-1 is itself, the rest of Unicode has 0x01000000 added (X11 protocol, appendix A).
function keysym(character) {
  const code = character.codePointAt(0);
  return NAMED[character] ?? (code <= 0xff ? code : 0x01000000 + code);
}

// The presses and releases for a text, as [keysym, isDown] pairs, one list a character.
export function strokes(text) {
  return Array.from(text.replaceAll("\r\n", "\n").replaceAll("\r", "\n"), (character) => {
    const key = [
      [keysym(character), true],
      [keysym(character), false],
    ];
    return SHIFTED.has(character) ? [[SHIFT, true], ...key, [SHIFT, false]] : key;
  });
}
