/** What the server says of the environment: where the API and the sign-in are. */

export interface Settings {
  environment: string;
  api: string;
  signIn: { authority: string; clientId: string; authorize: string; token: string; signOut: string };
}

/** The settings, read from beside the pages. Throws where they cannot be read. */
export async function loadSettings(): Promise<Settings> {
  const response = await fetch("/config.json");
  if (!response.ok) throw new Error(`/config.json was answered with ${response.status}`);
  return (await response.json()) as Settings;
}
