/** A list, and what a tap on it changes. */
import { useCallback, useEffect, useState } from "react";
import { FlatList, Pressable, SafeAreaView, Text } from "react-native";
import type { Recommendation, Recommender } from "edgerec";
import { openRecommender } from "./recommender";

const opened: Promise<Recommender> = openRecommender();

export default function App() {
  const [rows, setRows] = useState<Recommendation[]>([]);
  const [problem, setProblem] = useState("");
  const show = useCallback(async () => setRows([...(await (await opened).recommend(20, { explain: true }))]), []);
  const tap = async (item: string) => {
    await (await opened).observe(item, { kind: "click" });
    await show();
  };
  useEffect(() => {
    show().catch((error: Error) => setProblem(error.message));
  }, [show]);
  return (
    <SafeAreaView>
      {problem !== "" && <Text accessibilityRole="alert">{problem}</Text>}
      <FlatList
        data={rows}
        keyExtractor={(row) => row.item}
        renderItem={({ item: row }) => (
          <Pressable accessibilityRole="button" onPress={() => void tap(row.item)}>
            <Text>{row.title}</Text>
            <Text>{row.reasons.map((reason) => reason.title ?? "popular").join(", ")}</Text>
          </Pressable>
        )}
      />
    </SafeAreaView>
  );
}
