//! The code pages of `char`, `varchar` and `text`: which characters there are, and their bytes.
//!
//! Whoever else would turn text into a code page puts something else in the place of a character that it lacks, without a
//! word: Microsoft's driver, when it is given UTF-16, and the server, when it is given `nvarchar`, make `L` of `Ł` and `?` of
//! `日`. Here such a value is refused.
//!
//! Source of the tables: Unicode's mappings of the code pages (`VENDORS/MICSFT`), as CPython's codecs have them. Two-byte
//! code pages (932, 936, 949, 950) are not here.

/// A code page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CodePage {
    /// UTF-8, that of the collations with `UTF8` in their names.
    Utf8,
    /// One byte a character; the upper half, by character.
    Single(Vec<(char, u8)>),
}

/// Why a text has no bytes in a code page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// There is no room for them.
    TooLong,
    /// It has a character that the code page lacks.
    NotInCodePage,
}

impl CodePage {
    /// The code page of this number, if it is one that dray knows.
    pub(super) fn of(number: u32) -> Option<CodePage> {
        if number == 65001 {
            return Some(CodePage::Utf8);
        }
        let upper = characters(number)?.chars().zip(0x80..=0xFF);
        let mut characters: Vec<(char, u8)> = upper.filter(|(character, _)| !character.is_ascii()).collect();
        characters.sort_unstable();
        Some(CodePage::Single(characters))
    }

    /// Puts the bytes of UTF-8 text at the start of `out`, and says how many they are.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn encode(&self, text: &[u8], out: &mut [u8]) -> Result<usize, Misfit> {
        let characters = match self {
            CodePage::Single(characters) if !text.is_ascii() => characters,
            // Every code page has ASCII in its lower half.
            _ => {
                out.get_mut(..text.len()).ok_or(Misfit::TooLong)?.copy_from_slice(text);
                return Ok(text.len());
            }
        };
        let mut length = 0;
        for character in std::str::from_utf8(text).unwrap_or_default().chars() {
            let byte = match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => byte,
                _ => {
                    let found = characters.binary_search_by_key(&character, |(known, _)| *known);
                    found
                        .ok()
                        .and_then(|place| characters.get(place))
                        .ok_or(Misfit::NotInCodePage)?
                        .1
                }
            };
            *out.get_mut(length).ok_or(Misfit::TooLong)? = byte;
            length += 1;
        }
        Ok(length)
    }
}

/// The characters of a code page beyond ASCII, by their bytes from 0x80 on, a `?` where a byte has none; `None` for pages
/// that are not listed.
pub(super) fn characters(number: u32) -> Option<&'static str> {
    let found = UPPER_HALVES.iter().find(|(known, _)| *known == number)?;
    Some(found.1)
}

/// See [`characters`].
const UPPER_HALVES: [(u32, &str); 12] = [
    (
        437,
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµ\
         τΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    ),
    (
        850,
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµ\
         þÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    ),
    (
        874,
        "€????…????????\
         ???‘’“”•–—????????\u{a0}กข\
         ฃคฅฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลฦวศษสหฬอฮฯะ\u{e31}าำ\u{e34}\u{e35}\u{e36}\u{e37}\u{e38}\u{e39}\
         \u{e3a}????฿เแโใไๅๆ\u{e47}\u{e48}\u{e49}\u{e4a}\u{e4b}\u{e4c}\u{e4d}\u{e4e}\
         ๏๐๑๒๓๔๕๖๗๘๙๚๛????",
    ),
    (
        1250,
        "€?‚?„…†‡?‰Š‹ŚŤŽŹ?‘’“”•–—?™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ą\
         ş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
    ),
    (
        1251,
        "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—?™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГДЕЖЗИЙКЛМНОПРСТУФХ\
         ЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя",
    ),
    (
        1252,
        "€?‚ƒ„…†‡ˆ‰Š‹Œ?Ž??‘’“”•–—˜™š›œ?žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹\
         º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
    ),
    (
        1253,
        "€?‚ƒ„…†‡?‰?‹?????‘’“”•–—?™?›\
         ????\u{a0}΅Ά£¤¥¦§¨©?«¬\u{ad}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ\
         ?ΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ?",
    ),
    (
        1254,
        "€?‚ƒ„…†‡ˆ‰Š‹Œ????‘’“”•–—˜™š›œ??Ÿ\u{a0}¡¢£¤¥¦§¨©ª«¬\
         \u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ",
    ),
    (
        1255,
        "€?‚ƒ„…†‡ˆ‰?‹?????‘’“”•–—˜™?›??\
         ??\u{a0}¡¢£₪¥¦§¨©×«¬\u{ad}®¯°±²³´µ¶·¸¹÷»¼½¾¿\u{5b0}\u{5b1}\u{5b2}\u{5b3}\u{5b4}\u{5b5}\
         \u{5b6}\u{5b7}\u{5b8}\u{5b9}?\u{5bb}\u{5bc}\u{5bd}\u{5be}\u{5bf}\u{5c0}\u{5c1}\u{5c2}\u{5c3}\
         \u{5f0}\u{5f1}\u{5f2}\u{5f3}\u{5f4}???????\u{5d0}\
         \u{5d1}\u{5d2}\u{5d3}\u{5d4}\u{5d5}\u{5d6}\u{5d7}\u{5d8}\u{5d9}\u{5da}\u{5db}\u{5dc}\u{5dd}\u{5de}\
         \u{5df}\u{5e0}\u{5e1}\u{5e2}\u{5e3}\u{5e4}\u{5e5}\u{5e6}\u{5e7}\u{5e8}\u{5e9}\u{5ea}??\
         \u{200e}\u{200f}?",
    ),
    (
        1256,
        "€\u{67e}‚ƒ„…†‡ˆ‰\u{679}‹Œ\u{686}\u{698}\u{688}\u{6af}‘’“”•–—\u{6a9}™\u{691}›œ\u{200c}\u{200d}\u{6ba}\
         \u{a0}،¢£¤¥¦§¨©\u{6be}«¬\u{ad}®¯°±²³´µ¶·¸¹\u{61b}»¼½¾\u{61f}\u{6c1}\u{621}\u{622}\u{623}\u{624}\u{625}\
         \u{626}\u{627}\u{628}\u{629}\u{62a}\u{62b}\u{62c}\u{62d}\u{62e}\u{62f}\u{630}\u{631}\u{632}\u{633}\
         \u{634}\u{635}\u{636}×\u{637}\u{638}\u{639}\u{63a}\u{640}\u{641}\u{642}\u{643}à\u{644}â\u{645}\u{646}\
         \u{647}\u{648}çèéêë\u{649}\u{64a}îï\u{64b}\u{64c}\u{64d}\u{64e}ô\u{64f}\u{650}÷\u{651}ù\u{652}ûü\
         \u{200e}\u{200f}\u{6d2}",
    ),
    (
        1257,
        "€?‚?„…†‡?‰?‹?¨ˇ¸?‘’“”•–—?™?›?¯˛?\
         \u{a0}?¢£¤?¦§Ø©Ŗ«¬\u{ad}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽßąįāćäåęēčéźėģķī\
         ļšńņóōõö÷ųłśūüżž˙",
    ),
    (
        1258,
        "€?‚ƒ„…†‡ˆ‰?‹Œ????‘’“”•–—˜™?›œ??Ÿ\u{a0}¡¢\
         £¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂĂÄÅÆÇÈÉÊË\u{300}ÍÎÏĐÑ\u{309}ÓÔƠÖ×ØÙÚÛÜƯ\u{303}ßàáâăäåæçèéêë\u{301}\
         íîïđñ\u{323}óôơö÷øùúûüư₫ÿ",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(number: u32, text: &str, room: usize) -> Result<Vec<u8>, Misfit> {
        let mut out = vec![0; room];
        let length = CodePage::of(number).unwrap().encode(text.as_bytes(), &mut out)?;
        out.truncate(length);
        Ok(out)
    }

    #[test]
    fn text_becomes_the_bytes_of_its_code_page() {
        assert_eq!(encoded(1252, "é€x", 3), Ok(vec![0xE9, 0x80, b'x']));
        assert_eq!(encoded(1251, "Ж", 1), Ok(vec![0xC6]));
        assert_eq!(encoded(1253, "Ω", 1), Ok(vec![0xD9]));
        assert_eq!(encoded(850, "é", 1), Ok(vec![0x82]));
        assert_eq!(encoded(65001, "é日", 5), Ok("é日".as_bytes().to_vec()));
        assert_eq!(encoded(437, "plain", 5), Ok(b"plain".to_vec()));
    }

    #[test]
    fn a_character_that_the_code_page_lacks_is_refused() {
        for (number, text) in [
            (1252, "日"),
            (1252, "Ł"),
            (1252, "\u{fffd}"),
            (1251, "é"),
            (874, "\u{81}"),
        ] {
            assert_eq!(encoded(number, text, 10), Err(Misfit::NotInCodePage), "{number} {text}");
        }
    }

    #[test]
    fn text_without_room_for_all_of_it_is_refused_and_not_cut() {
        // Microsoft's driver would send two bytes of three.
        assert_eq!(encoded(65001, "日", 2), Err(Misfit::TooLong));
        assert_eq!(encoded(1252, "éé", 1), Err(Misfit::TooLong));
        assert_eq!(encoded(1252, "ab", 1), Err(Misfit::TooLong));
    }

    #[test]
    fn code_pages_of_two_bytes_are_not_known() {
        assert_eq!([932, 936, 949, 950, 0].map(CodePage::of), [const { None }; 5]);
        for (number, upper) in UPPER_HALVES {
            assert_eq!(upper.chars().count(), 128, "{number}");
        }
    }
}
