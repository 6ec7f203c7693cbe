import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { answered, Problem } from "../api/client";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { Facts, Money, OrderLink, PartyLink, Status, Version, When } from "../parts/show";
import { Answer, Failure, Loading, More } from "../parts/states";
import { Table } from "../parts/table";

type Role = "buyer" | "seller";

export function PartyPage({ id, role }: { id: string; role: Role }) {
  useTitle(`Party ${id}`);
  const isStaff = usePerson()?.role === "staff";
  return (
    <>
      <p className="kind">Party</p>
      <h1 className="id">{id}</h1>
      {isStaff && <About id={id} />}
      <Summary id={id} />
      <h2>Orders</h2>
      <nav className="tabs" aria-label="The party's orders">
        {(["buyer", "seller"] as const).map((each) => (
          <Link key={each} to="/parties/$id" params={{ id }} search={each === "seller" ? { role: each } : {}} resetScroll={false}
            activeOptions={{ exact: true, includeSearch: true }} aria-current={each === role ? "page" : undefined}>
            as {each}
          </Link>
        ))}
      </nav>
      <Orders id={id} role={role} />
    </>
  );
}

function About({ id }: { id: string }) {
  const { api } = useParts();
  const customer = useQuery({
    queryKey: ["customer", id],
    queryFn: async () => (await answered(api.GET("/customers/{customer_id}", { params: { path: { customer_id: id } } }))).data,
  });
  return (
    <Answer of={customer} what={`party ${id}`}>
      {(found) => (
        <Facts
          of={[
            ["Name", found.name ?? "–"],
            ["Status", <Status key="s" of={found.status} />],
            ["Kind", found.kind ?? "–"],
            ["Country", found.country_code ? country(found.country_code) : "–"],
            ["Registered", <When key="r" at={found.registered_at} />],
            ["Feedback", found.feedback_score ?? "–"],
            ["Version", <Version key="v" of={found._version} />],
          ]}
        />
      )}
    </Answer>
  );
}

/** What the reports say of the party: older than the orders below, and true for its own moment. */
function Summary({ id }: { id: string }) {
  const { api } = useParts();
  const summary = useQuery({
    queryKey: ["summary", id],
    queryFn: async () => {
      try {
        return (await answered(api.GET("/parties/{party_id}/summary", { params: { path: { party_id: id } } }))).data;
      } catch (error) {
        if (error instanceof Problem && error.kind === "absent") return null;
        throw error;
      }
    },
  });
  // The orders below say already what may not be seen.
  if (summary.error instanceof Problem && summary.error.kind === "forbidden") return null;
  return (
    <>
      <h2>What the reports say</h2>
      <Answer of={summary} what="what the reports say">
        {(found) =>
          found === null ? (
            <p className="empty">No summaries of parties have been written yet. They come with the first reports.</p>
          ) : (
            <>
              <p className="quiet">True for <When at={found.data_time} />. Orders that came later are below, and not in it yet.</p>
              {(["buyer", "seller"] as const).map((role) => (
                <Table
                  key={role}
                  title={`What it did as ${role}`}
                  rows={found[`as_${role}`]}
                  id={(row) => `${role} ${row.currency}`}
                  empty={`No sale and no open invoice as ${role}.`}
                  columns={[
                    { title: `As ${role}, in`, value: (row) => row.currency },
                    { title: "Group", value: (row) => row.party_group ?? "", cell: (row) => (row.party_group ? <Status of={row.party_group} /> : "–") },
                    { title: "Sales", numeric: true, value: (row) => row.sales },
                    { title: "Turnover", numeric: true, value: (row) => row.net_sales, cell: (row) => <Money amount={row.net_sales} currency={row.currency} /> },
                    { title: "Recent turnover", numeric: true, spare: true, value: (row) => row.recent_net_sales, cell: (row) => <Money amount={row.recent_net_sales} currency={row.currency} /> },
                    { title: "First sale", moment: true, spare: true, value: (row) => row.first_sale_at, cell: (row) => <When at={row.first_sale_at} inTable /> },
                    { title: "Last sale", moment: true, spare: true, value: (row) => row.last_sale_at, cell: (row) => <When at={row.last_sale_at} inTable /> },
                    { title: "Open", numeric: true, value: (row) => row.open_amount, cell: (row) => <Money amount={row.open_amount} currency={row.currency} /> },
                    { title: "Overdue", numeric: true, value: (row) => row.overdue_amount, cell: (row) => <Money amount={row.overdue_amount} currency={row.currency} /> },
                  ]}
                />
              ))}
            </>
          )
        }
      </Answer>
    </>
  );
}

function country(code: string): string {
  try {
    return new Intl.DisplayNames(undefined, { type: "region" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function Orders({ id, role }: { id: string; role: Role }) {
  const { api } = useParts();
  const pages = useInfiniteQuery({
    queryKey: ["party orders", id, role],
    initialPageParam: null as string | null,
    queryFn: async ({ pageParam }) => {
      const query = { role, limit: 50, ...(pageParam === null ? {} : { cursor: pageParam }) };
      return (await answered(api.GET("/parties/{party_id}/orders", { params: { path: { party_id: id }, query } }))).data;
    },
    getNextPageParam: (page) => page.cursor,
  });
  if (pages.data === undefined) {
    return pages.isError ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : <Loading what="orders" />;
  }
  const orders = pages.data.pages.flatMap((page) => page.orders);
  const other = role === "buyer" ? "seller" : "buyer";
  return (
    <>
      <Table
        title={`Orders as ${role}, newest first`}
        rows={orders}
        id={(order) => order.order_id}
        empty={`No orders as ${role}.`}
        columns={[
          { title: "Order", value: (order) => order.order_id, cell: (order) => <OrderLink id={order.order_id} /> },
          { title: "Status", value: (order) => order.status, cell: (order) => <Status of={order.status} /> },
          { title: "Placed", moment: true, value: (order) => order.placed_at, cell: (order) => <When at={order.placed_at} inTable /> },
          { title: other === "seller" ? "Seller" : "Buyer", value: (order) => order[`${other}_id`], cell: (order) => <PartyLink id={order[`${other}_id`]} /> },
          { title: "Currency", value: (order) => order.currency, spare: true },
          { title: "Hammer price", numeric: true, value: (order) => order.hammer_price, cell: (order) => <Money amount={order.hammer_price} currency={order.currency} /> },
          { title: "Premium", numeric: true, spare: true, value: (order) => order.buyers_premium, cell: (order) => <Money amount={order.buyers_premium} currency={order.currency} /> },
          { title: "Commission", numeric: true, spare: true, value: (order) => order.sellers_commission, cell: (order) => <Money amount={order.sellers_commission} currency={order.currency} /> },
        ]}
      />
      <More of={pages} count={orders.length} one="order" many="orders" />
    </>
  );
}
