"""Spark MLlib: imputer, scaler, indexer, one-hot and logistic regression of 10 iterations on local cores."""

from __future__ import annotations

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Imputer, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell


def main():
    given, clock = arguments(), Clock()
    session = (
        SparkSession.builder.master(f"local[{given.workers}]")
        .config("spark.driver.memory", "8g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(given.workers))
        .getOrCreate()
    )
    filled = [f"{name}_filled" for name in NUMERIC]
    codes = [f"{name}_code" for name in TEXT]
    hot = [f"{name}_hot" for name in TEXT]
    pipeline = Pipeline(
        stages=[
            Imputer(inputCols=list(NUMERIC), outputCols=filled),
            VectorAssembler(inputCols=filled, outputCol="numbers"),
            StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True),
            StringIndexer(inputCols=list(TEXT), outputCols=codes, handleInvalid="keep"),
            OneHotEncoder(inputCols=codes, outputCols=hot),
            VectorAssembler(inputCols=["scaled", *hot], outputCol="features"),
            LogisticRegression(featuresCol="features", labelCol=TARGET, maxIter=10),
        ]
    )
    with clock.stage("fit"):
        frame = session.read.parquet(*given.files).select(*NUMERIC, *TEXT, TARGET)
        pipeline.fit(frame)
    rows = frame.count()
    session.stop()
    tell(rows, clock, ["pyspark"])


if __name__ == "__main__":
    main()
