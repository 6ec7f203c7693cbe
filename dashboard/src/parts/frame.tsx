/** What all pages stand in: the head with the way to other pages, who is signed in, and the state of the connection. */

import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useParts, usePerson } from "./context";
import { SignIn } from "./sign-in";
import { Stop } from "./states";

export function Frame() {
  const person = usePerson();
  const { session } = useParts();
  const path = useLocation({ select: (location) => location.pathname });
  const main = useRef<HTMLElement>(null);
  const [known, setKnown] = useState(false);
  const first = useRef(true);
  useEffect(() => {
    if (person !== null) setKnown(true);
  }, [person]);
  useEffect(() => {
    // A new page is announced by its heading: the focus would stay on a link that may be gone.
    if (first.current) first.current = false;
    else {
      main.current?.focus({ preventScroll: true });
      if (location.hash === "") scrollTo(0, 0);
    }
  }, [path]);
  const returning = path === "/signed-in";
  return (
    <>
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>
        Skip to the content
      </a>
      <header className="head">
        <Link to="/" className="brand">
          <img src="/favicon.svg" alt="" width="22" height="22" /> Gavel
        </Link>
        {person !== null && (
          <nav aria-label="Pages">
            {person.role === "staff" && <Link to="/" activeOptions={{ exact: true, includeSearch: false }}>Find</Link>}
            {person.role === "staff" && <Link to="/figures" activeOptions={{ includeSearch: false }}>Figures</Link>}
            {(person.role === "staff" || person.role === "auditor") && (
              <Link to="/archive" activeOptions={{ includeSearch: false }}>Archive</Link>
            )}
            {person.role === "staff" && <Link to="/health">Health</Link>}
            {person.role === "party" && person.partyId && (
              <Link to="/parties/$id" params={{ id: person.partyId }}>My orders</Link>
            )}
          </nav>
        )}
        {person !== null && (
          <div className="person">
            <span className="who" title={person.email}>{person.email}</span>
            <span className="role">{person.role ?? "no role"}</span>
            <button type="button" className="link" onClick={() => session.leave()}>
              Sign out
            </button>
          </div>
        )}
      </header>
      <Offline />
      <main id="main" ref={main} tabIndex={-1}>
        {returning || person !== null ? (
          person !== null && person.role === null ? <NoRole /> : <Outlet />
        ) : (
          <SignIn ended={known} />
        )}
      </main>
    </>
  );
}

function NoRole() {
  return (
    <Stop title="You may not see this">
      <p>Your account is in none of the groups staff, auditor and party. Ask an administrator to put it into one.</p>
    </Stop>
  );
}

const changes = (listener: () => void) => {
  addEventListener("online", listener);
  addEventListener("offline", listener);
  return () => {
    removeEventListener("online", listener);
    removeEventListener("offline", listener);
  };
};

function Offline() {
  const online = useSyncExternalStore(changes, () => navigator.onLine);
  if (online) return null;
  return (
    <p className="notice" role="alert">
      You are offline. What is shown may be old; it is read again when you are back.
    </p>
  );
}

export function NotFound() {
  return (
    <Stop title="There is no such page" urgent={false}>
      <p>
        <Link to="/">Find what you are looking for</Link>
      </p>
    </Stop>
  );
}

/** The title of the page, in the window and as its heading. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Gavel`;
  }, [title]);
}
