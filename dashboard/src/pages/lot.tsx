import { useQuery } from "@tanstack/react-query";
import { answered } from "../api/client";
import { useParts } from "../parts/context";
import { useTitle } from "../parts/frame";
import { Facts, Money, PartyLink, Status, Version, When } from "../parts/show";
import { Answer } from "../parts/states";

export function LotPage({ id }: { id: string }) {
  useTitle(`Lot ${id}`);
  const { api } = useParts();
  const lot = useQuery({
    queryKey: ["lot", id],
    queryFn: async () => (await answered(api.GET("/lots/{lot_id}", { params: { path: { lot_id: id } } }))).data,
  });
  return (
    <>
      <p className="kind">Lot</p>
      <h1 className="id">{id}</h1>
      <Answer of={lot} what={`lot ${id}`}>
        {(found) => (
          <>
            <p className="lead">{found.title}</p>
            <Facts
              of={[
                ["Status", <Status key="s" of={found.status} />],
                ["Category", found.category],
                ["Grade", found.grade ?? "–"],
                ["Seller", <PartyLink key="e" id={found.seller_id} />],
                ["Starting price", <Money key="sp" amount={found.starting_price} currency={found.currency} />],
                ["Reserve price", <Money key="rp" amount={found.reserve_price} currency={found.currency} />],
                ["Valuation, low", <Money key="vl" amount={found.valuation_low} currency={found.currency} />],
                ["Valuation, high", <Money key="vh" amount={found.valuation_high} currency={found.currency} />],
                ["Listed", <When key="li" at={found.listed_at} />],
                ["Starts", <When key="st" at={found.starts_at} />],
                ["Ends", <When key="en" at={found.ends_at} />],
                ["Version", <Version key="v" of={found._version} />],
              ]}
            />
          </>
        )}
      </Answer>
    </>
  );
}
