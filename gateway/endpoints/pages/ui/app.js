document.querySelector("#app")?.append("The page loads.");
