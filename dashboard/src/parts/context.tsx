import { createContext, type ReactNode, useContext, useSyncExternalStore } from "react";
import type { Api } from "../api/client";
import type { Person, Session } from "../session";
import type { Settings } from "../settings";

export interface Parts {
  settings: Settings;
  session: Session;
  api: Api;
}

const Context = createContext<Parts | null>(null);

export function Dashboard({ value, children }: { value: Parts; children: ReactNode }) {
  return <Context value={value}>{children}</Context>;
}

/** The parts that all pages share. */
export function useParts(): Parts {
  const parts = useContext(Context);
  if (parts === null) throw new Error("expected to be within Dashboard");
  return parts;
}

/** Who is signed in; null for nobody. */
export function usePerson(): Person | null {
  const { session } = useParts();
  return useSyncExternalStore(session.subscribe, session.current);
}
