import js from "@eslint/js";

// tsc knows each name; what could write markup or run text as a script is refused here.
const MARKUP = "Texts of a study or a server are written by textContent.";

export default [
  {ignores: ["node_modules/"]},
  js.configs.recommended,
  {
    rules: {
      "no-undef": "off",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "no-unused-vars": ["error", {argsIgnorePattern: "^_"}],
      "max-lines-per-function": ["error", {max: 80}],
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map((property) => ({property, message: MARKUP})),
        {object: "document", property: "write", message: MARKUP},
      ],
    },
  },
];
