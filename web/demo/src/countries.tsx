import { getCountries, getCountryCallingCode, parsePhoneNumberFromString, type CountryCode } from "libphonenumber-js/min";
import { language, ltr } from "./i18n";

export type { CountryCode };

const codes = getCountries();
const known = new Set<string>(codes);
const lists = new Map<string, readonly { code: CountryCode; name: string }[]>();

/** Every country that has telephone numbers, by its name in the page's language. */
export function countries(): readonly { code: CountryCode; name: string }[] {
  let list = lists.get(language());
  if (list === undefined) {
    const names = new Intl.DisplayNames([language()], { type: "region" });
    list = codes.map((code) => ({ code, name: `${names.of(code) ?? code} (${ltr(`+${getCountryCallingCode(code)}`)})` })).sort((a, b) => a.name.localeCompare(b.name, language()));
    lists.set(language(), list);
  }
  return list;
}

/** Where this browser's user probably is: the first of the preferred languages that names a region. */
export function likelyCountry(): CountryCode {
  for (const language of navigator.languages) {
    try {
      const region = new Intl.Locale(language).maximize().region;
      if (region !== undefined && known.has(region)) return region as CountryCode;
    } catch {
      continue; // not a language tag
    }
  }
  return "US";
}

/** The country of an E.164 number, for numbers that its owner writes down without a country code. */
export function countryOf(phone: string): CountryCode | null {
  return parsePhoneNumberFromString(phone)?.country ?? null;
}

/** What was typed, with its country code: "0151 …" in Germany is "+49151…". What cannot be read is left for the server to refuse. */
export function international(typed: string, country: CountryCode): string {
  const text = typed.trim();
  if (text === "") return "";
  return parsePhoneNumberFromString(text, country)?.number ?? (text.startsWith("+") ? text : `+${getCountryCallingCode(country)}${text}`);
}

interface Props { id: string; value: CountryCode; onChange: (country: CountryCode) => void; label?: string; disabled?: boolean }
export function CountrySelect({ id, value, onChange, label, disabled }: Props) {
  return (
    <select id={id} value={value} aria-label={label} disabled={disabled} autocomplete="country"
      onChange={(event) => onChange(event.currentTarget.value as CountryCode)}>
      {countries().map((country) => <option key={country.code} value={country.code}>{country.name}</option>)}
    </select>
  );
}
